"""`keybroker completion`: prints what makes a shell complete the commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from keybroker.cli import output, place

_WHERE = {
    "bash": 'eval "$(keybroker completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(keybroker completion zsh)"  # in ~/.zshrc',
    "fish": "keybroker completion fish > ~/.config/fish/completions/keybroker.fish",
}


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(list(_WHERE)))
@place.options
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from keybroker.cli import program  # noqa: PLC0415  it imports the commands, this one too

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    output.data(made(program.root, {}, program.NAME, program.COMPLETE).source())
    output.message(_WHERE[shell])
