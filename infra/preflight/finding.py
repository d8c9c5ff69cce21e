"""One thing that is missing before a deployment, or that will be missed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infra.aws_cli import AwsCommandError


@dataclass(frozen=True, slots=True)
class Finding:
    """text: one line that says what is missing and what to do. stops: whether the deployment would fail for it."""

    text: str
    stops: bool = True

    def __str__(self) -> str:
        return f"{'error' if self.stops else 'warning'}: {self.text}"


Check = Callable[[], Iterator[Finding]]


def tried(what: str, check: Check) -> Iterator[Finding]:
    """Yield what a check finds. One that AWS does not answer, for want of a permission say, is a warning that names it."""
    try:
        yield from check()
    except AwsCommandError as fault:
        yield Finding(f"{what} could not be checked: {one_line(fault)}", stops=False)


def one_line(fault: Exception) -> str:
    """Return what AWS said, in one line."""
    return " ".join(str(fault).split())
