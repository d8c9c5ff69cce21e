"""`keybroker completion`: prints a shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from keybroker.cli import output
from keybroker.cli.settings import common_options

_INSTALLATION = {
    "bash": 'eval "$(keybroker completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(keybroker completion zsh)"  # in ~/.zshrc',
    "fish": "keybroker completion fish > ~/.config/fish/completions/keybroker.fish",
}


@click.command(short_help="Print a shell completion script.")
@click.argument("shell", type=click.Choice(list(_INSTALLATION)))
@common_options
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    from keybroker.cli import program  # noqa: PLC0415  it imports the commands, this one too

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"no completion for {shell}")
    output.data(script(program.root, {}, program.NAME, program.COMPLETE).source())
    output.message(_INSTALLATION[shell])
