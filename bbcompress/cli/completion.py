"""bbc completion and bbc help: of the commands themselves."""

from __future__ import annotations

import click

from bbcompress.cli.group import main
from bbcompress.errors import BBCError


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands, options, models and files.

    \b
    In ~/.bashrc:                    eval "$(bbc completion bash)"
    In ~/.zshrc, behind compinit:    eval "$(bbc completion zsh)"
    For fish, once:                  bbc completion fish > ~/.config/fish/completions/bbc.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise BBCError(f"there is no completion for {shell} in this version of click")
    click.echo(made(main, {}, "bbc", "_BBC_COMPLETE").source())


@main.command("help")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def show_help(context: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of bbc, or of one of its commands, such as models add."""
    inner = context.parent
    assert inner is not None
    found: click.Command = main
    for word in words:
        if not isinstance(found, click.Group):
            raise click.UsageError(f"{inner.command_path} has no commands")
        name, next_one, _ = found.resolve_command(inner, [word])
        assert next_one is not None
        found, inner = next_one, click.Context(next_one, info_name=name, parent=inner)
    click.echo(found.get_help(inner))
