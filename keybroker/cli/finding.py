"""The result of one check of `keybroker doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from keybroker.cli.command_error import DONE


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    check: what was checked.
    state: ok, warning or error.
    text: what was found.
    advice: what to do about it, "" for nothing.
    code: the exit code that it leads to.
    """

    check: str
    state: str
    text: str
    advice: str = ""
    code: int = DONE
