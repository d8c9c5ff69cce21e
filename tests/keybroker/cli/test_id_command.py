from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from keybroker.cli.id_command import IdCommand

IDS = ["-" + "h" * 21, "--" + "dry-run" + "x" * 13, "-0123456789abcdefghi_-", "plain-0123456789abcdef"]


@click.command(cls=IdCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target")
@click.option("--reason")
@click.option("--dry-run", is_flag=True)
def show(target: str, reason: str | None, dry_run: bool) -> None:  # noqa: FBT001  a flag
    click.echo(f"{target}|{reason}|{dry_run}")


@pytest.mark.parametrize("one", IDS)
@pytest.mark.parametrize(
    ("args", "rest"),
    [
        (["ID"], "None|False"),
        (["ID", "--dry-run"], "None|True"),
        (["--reason", "why", "ID"], "why|False"),
        (["--reason=why", "--dry-run", "ID"], "why|True"),
        (["--reason", "why", "--", "ID"], "why|False"),
    ],
)
def test_an_id_may_begin_with_a_hyphen(one: str, args: list[str], rest: str) -> None:
    """An id that begins with `-` is taken as it is, wherever it stands."""
    result = CliRunner().invoke(show, [one if arg == "ID" else arg for arg in args])
    assert (result.exit_code, result.output) == (0, f"{one}|{rest}\n")


@pytest.mark.parametrize("one", IDS[:3])
def test_a_value_that_looks_like_an_id(one: str) -> None:
    """What follows an option that takes a value is its value, whatever it looks like."""
    result = CliRunner().invoke(show, ["--reason", one, "target"])
    assert (result.exit_code, result.output) == (0, f"target|{one}|False\n")


@pytest.mark.parametrize("args", [["x", "--dryrun"], ["--dryrun"], ["x", "-r"], ["x", "-0123456789abcdefghi_-"], []])
def test_a_misspelt_option_is_an_error(args: list[str]) -> None:
    """Whatever else begins with `-` is an option, and an unknown one is an error."""
    assert CliRunner().invoke(show, args).exit_code == 2
