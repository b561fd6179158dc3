"""bbc doctor: what a bug report should say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from bbcompress.cli.group import main
from bbcompress.cli.messages import say
from bbcompress.cli.options import model_option
from bbcompress.cli.progress import set_up_notices


@main.command()
@click.option("--gpu", is_flag=True, help="Look at GPUs as well; takes seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@model_option
@click.pass_context
def doctor(context: click.Context, gpu: bool, as_json: bool, model: str | None) -> None:
    """Look at this installation, for a bug report: versions, machine, exactness, compiled kernels, models.

    The home directory is shown as ~. Exit with 1 if arithmetic is not exact or a model is damaged.
    """
    from bbcompress.pipeline.doctor import examine

    set_up_notices(quiet=False)
    found = examine(model, gpu)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for line in _lines(found):
            say(line)
    if not found["sound"]:
        context.exit(1)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    packages = [f"{name} {version}" for name, version in found["packages"].items()]
    yield f"bbc {found['bbc']}: Python {found['python']}, {', '.join(packages)}"
    yield f"system: {found['system']}"
    yield f"processor: {found['processor']}, {found['processors'][0]} of {found['processors'][1]} in use"
    yield f"BLAS: {found['blas']['fault'] or '; '.join(map(_library, found['blas']['libraries'])) or 'none is found'}"
    yield f"arithmetic: {found['arithmetic']['fault'] or 'exact'}"
    yield from _of_the_cache(found["kernel_cache"])
    models = found["models"].get("installed", [])
    right = [entry["name"] for entry in models if entry["fault"] is None]
    summary = f"{len(right)} of {len(models)} are right: {', '.join(right)}"
    yield f"models: {found['models']['fault'] or summary}"
    for entry in models:
        if entry["fault"] is not None:
            yield f"  {entry['name']} is not: {entry['fault']}"
    if found["gpu"] is None:
        yield "GPU: not looked at (--gpu)"
        return
    devices = found["gpu"].get("devices", [])
    yield f"GPU: {found['gpu']['fault'] or f'{len(devices)} found'}"
    for device in devices:
        yield f"  {device['device']}, {device['name']}: {device['fault'] or 'exact'}"


def _library(entry: dict[str, Any]) -> str:
    name, version, architecture = entry["library"], entry["version"] or "", entry["architecture"] or "?"
    return f"{name} {version} for {architecture}, {entry['threads']} threads"


def _of_the_cache(cache: dict[str, Any]) -> Iterator[str]:
    if "kept" not in cache:
        yield f"compiled kernels: {cache['fault']}"
        return
    yield f"compiled kernels: {cache['path'] or 'nowhere'}"
    if cache["path"] is not None:
        size, all_sizes = cache["bytes"] / 1e6, cache["bytes_of_all_versions"] / 1e6
        writable = "writable" if cache["writable"] else "not writable"
        yield f"  {cache['kernels']} kernels, {size:.1f} MB ({all_sizes:.1f} MB with other versions), {writable}"
    if not cache["kept"]:
        yield f"  compiled in each run: {cache['fault']}"
