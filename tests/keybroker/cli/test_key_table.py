from __future__ import annotations

import re
import time
from typing import Any

import pytest

from keybroker.cli import key_table
from keybroker.cli.times import format_time

AT = 1_700_000_000
"""Long ago."""
SET = {"name": "openai", "provider": "openai", "version": "v1", "origin": "https://api.openai.com"} | {
    "header": "authorization",
    "author": "ada",
    "at": AT,
}


def shown(capsys: pytest.CaptureFixture[str], **answer: Any) -> tuple[list[str], str]:  # noqa: ANN401  JSON
    """Return the row of a key, and what is written to stderr."""
    key_table.show({"next": None, **answer})
    found = capsys.readouterr()
    return re.split(" {2,}", found.out.splitlines()[1]), found.err


def test_key_never_set(capsys: pytest.CaptureFixture[str]) -> None:
    """A key without a value says so, and is not due."""
    never = {**dict.fromkeys(SET), "name": "openai", "provider": "openai", "due": None}
    row, err = shown(capsys, items=[never], complete=True)
    assert (row[2], err) == ("never", "")


@pytest.mark.parametrize(("complete", "text"), [(True, "not in 35 d"), (False, "unknown")])
def test_key_never_used(capsys: pytest.CaptureFixture[str], complete: bool, text: str) -> None:  # noqa: FBT001  a parameter
    """A key is said to be unused only where all counts were read."""
    assert text in shown(capsys, items=[{**SET, "last_used": None, "due": None}], complete=complete)[0]


def test_key_of_an_older_server(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that says nothing of uses is not taken to say that there were none."""
    assert "unknown" in shown(capsys, items=[SET])[0]


def test_key_due(capsys: pytest.CaptureFixture[str]) -> None:
    """A key whose value is due is warned of, with its age; one that is not yet due is not."""
    row, err = shown(capsys, items=[{**SET, "due": AT + 86_400}], complete=True)
    assert format_time(AT + 86_400) in row
    assert err.startswith("warning: openai: its value is ")
    later = int(time.time()) + 86_400
    row, err = shown(capsys, items=[{**SET, "due": later}], complete=True)
    assert (format_time(later) in row, err) == (True, "")
