"""bbc models: what is installed, and adding, exporting, removing and checking models."""

from __future__ import annotations

import json
from typing import Any

import click

from bbcompress.cli.group import CommandGroup, main
from bbcompress.cli.messages import say, tell
from bbcompress.cli.options import complete_model, force_option, model_option, not_empty, output_option, path_argument
from bbcompress.cli.progress import set_up_notices
from bbcompress.cli.several import Several
from bbcompress.errors import BBCError
from bbcompress.limits import USUAL_ENCODER

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.group(cls=CommandGroup, invoke_without_command=True)
@_json_option
@model_option
@click.pass_context
def models(context: click.Context, as_json: bool, model: str | None) -> None:
    """List the models that are installed: name, id, data, rate, size. Its commands add, export, remove and check them.

    A model that was added is used to read files that need it, and to write them where -m names it.
    """
    if context.invoked_subcommand is None:
        _list_models(as_json, model)
    elif as_json or model is not None:
        raise click.UsageError(f"options of bbc models {context.invoked_subcommand} stand behind its name")


def _list_models(as_json: bool, model: str | None) -> None:
    from bbcompress.models.base import encoder_of
    from bbcompress.models.zoo import InstalledModel, Zoo, only_quick

    set_up_notices(quiet=False)
    found: list[tuple[dict[str, Any], InstalledModel]] = []
    for entry in Zoo(model).entries:
        try:
            card = entry.card
            size = sum(path.stat().st_size for path in entry.folder.iterdir())
            rates = card.get("net_rate")
            rate = rates.get(encoder_of(card, USUAL_ENCODER)) if isinstance(rates, dict) else None
            rate = rate if isinstance(rate, float) else None
            facts = {"name": entry.name, "id": entry.id.hex(), "data": card.get("data"), "net_rate": rate,
                     "bytes": size, "default": entry.is_default, "fast": entry.is_fast,
                     "folder": str(entry.folder)}  # fmt: skip
        except BBCError as error:  # which names the file
            tell(str(error))
            continue
        except OSError as error:
            tell(f"{error.filename or entry.folder}: {error.strerror or error}")
            continue
        found.append((facts, entry))
    if as_json:
        click.echo(json.dumps([facts for facts, _ in found], indent=2))
        return
    names, data = (max((len(_told(facts[key])) for facts, _ in found), default=0) for key in ("name", "data"))
    quick = only_quick([entry for _, entry in found])
    for one, entry in found:
        rate = "?" if one["net_rate"] is None else f"{one['net_rate']:.4f}"
        text = f"{one['name']:{names}}  {one['id'][:8]}  {_told(one['data']):{data}}  {rate:>6} bits/dim"
        note = "  (only with -m)" if not one["default"] else "  (efforts 1 and 2)" if entry in quick else ""
        say(f"{text}  {one['bytes'] / 1e6:4.1f} MB{note}")


def _told(value: object) -> str:
    """What a card says, or that it says nothing."""
    return "?" if value is None else str(value)


@models.command("add")
@path_argument("files", "FILE...", nargs=-1, required=True)
@click.option("--name", metavar="NAME", callback=not_empty, help="What to call the model, if it is one.")
@force_option
@_json_option
def add_models(files: tuple[str, ...], name: str | None, force: bool, as_json: bool) -> None:
    """Install models for all files of this user.

    Each FILE is a file of bbc that carries models, a .safetensors file as bbc models export writes it, the folder of a
    checkpoint or of a training run, or a folder of these. A model is checked before it is installed: its bounds are
    proved, and its id is computed anew.
    """
    from bbcompress.pipeline.model_files import find, install

    set_up_notices(quiet=False)
    several = Several(files)
    if name is not None and not several.alone:
        raise click.UsageError("--name is for one model")
    done: list[dict[str, Any]] = []
    for file in files:
        with several.one(file):
            found = find(file)
            if name is not None:
                if len(found) > 1:
                    raise click.UsageError(f"--name is for one model, and {file} has {len(found)}")
                found = [found[0].named(name)]
            for one in found:
                made = install(one, force)
                facts = {"file": file, "name": made.name, "id": made.id.hex(), "folder": str(made.folder)}
                done.append({**facts, "new": made.is_new})
                if not as_json:
                    what = f"installed in {made.folder}" if made.is_new else f"is there already, in {made.folder}"
                    say(f"{made.name} ({made.id.hex()[:8]}): {what}")
    if as_json:
        click.echo(json.dumps(done, indent=2))
    several.end()


@models.command("export")
@click.argument("name", shell_complete=complete_model, callback=not_empty)
@output_option("The .safetensors file to write, or an existing folder, in which a folder of the model's name is made.")
@force_option
@_json_option
def export_model(name: str, output: str | None, force: bool, as_json: bool) -> None:
    """Write a model as one file, its card in it, or as a folder: bbc models add installs either elsewhere.

    NAME is a model's name, its folder or a folder that holds one.
    """
    from bbcompress.pipeline.model_files import export

    set_up_notices(quiet=False)
    if output is None:
        raise click.UsageError("say with -o which file to write")
    path = export(name, output, force)
    if as_json:
        click.echo(json.dumps({"name": name, "output": str(path)}, indent=2))
    else:
        say(f"{name} -> {path}")


@models.command("remove")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_model, callback=not_empty)
@_json_option
def remove_models(names: tuple[str, ...], as_json: bool) -> None:
    """Delete models that bbc models add installed. Files that carry them are read as before, others are not."""
    from bbcompress.pipeline.model_files import remove

    set_up_notices(quiet=False)
    several = Several(names)
    done = []
    for name in names:
        with several.one(name):
            folder = remove(name)
            done.append({"name": name, "folder": str(folder)})
            if not as_json:
                say(f"{name}: removed from {folder}")
    if as_json:
        click.echo(json.dumps(done, indent=2))
    several.end()


@models.command("verify")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_model, callback=not_empty)
@_json_option
@click.pass_context
def verify_models(context: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Check models, all that are installed or those that are named: prove their bounds, compute their ids anew.

    Exit with 1 if one is damaged.
    """
    from bbcompress.pipeline.model_files import verify

    set_up_notices(quiet=False)
    found = verify(names)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        longest = max((len(entry["name"]) for entry in found), default=0)
        for entry in found:
            if entry["fault"] is None:
                say(f"{entry['name']:{longest}}  {entry['id'][:8]}  as it was")
            else:
                tell(f"{entry['name']}: {entry['fault']}")
    if any(entry["fault"] for entry in found):
        context.exit(1)
