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
@click.argument("command", metavar="[COMMAND]", required=False)
@click.pass_context
def show_help(context: click.Context, command: str | None) -> None:
    """Show the help of bbc, or of one of its commands."""
    parent = context.parent
    assert parent is not None
    if command is None:
        click.echo(main.get_help(parent))
        return
    name, found, _ = main.resolve_command(parent, [command])
    assert found is not None
    with click.Context(found, info_name=name, parent=parent) as inner:
        click.echo(found.get_help(inner))
