from __future__ import annotations

import re
import time
from typing import Any

import pytest

from keybroker.cli import key_table, output
from keybroker.cli.plain_text import width
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
    assert (row[3], err) == ("never", "")


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


def rotation(step: str, problem: str | None = None, ends: int | None = None) -> dict[str, Any]:
    """Return a rotation under way."""
    return {"step": step, "problem": problem, "ends": ends, "deletes": None}


@pytest.mark.parametrize(
    ("under_way", "text"),
    [
        (None, "-"),
        (rotation("creating"), "creating"),
        (rotation("creating", "status_500"), "creating: status_500"),
        (rotation("overlap", ends=AT), "overlap, ends in 0 s"),
    ],
)
def test_key_being_replaced(capsys: pytest.CaptureFixture[str], under_way: dict[str, Any] | None, text: str) -> None:
    """How a key is replaced is shown, and how far a rotation has come."""
    row, _ = shown(capsys, items=[{**SET, "rotates": "by_api", "rotation": under_way}], complete=True)
    assert (row[2], row[6]) == ("by API", text)


def test_a_rotation_that_is_stuck(capsys: pytest.CaptureFixture[str]) -> None:
    """A rotation that came no further is warned of, in words and with what to do; one in its overlap is not."""
    stuck = {**SET, "rotates": "by_api", "rotation": rotation("overlap", "status_401", AT)}
    err = shown(capsys, items=[stuck], complete=True)[1]
    assert err.startswith(
        "warning: openai: its rotation is not finished: the provider does not know the management key"
    )
    assert err.endswith("; go on: keybroker keys rotate openai\n")
    later = {**stuck, "rotation": rotation("overlap", ends=int(time.time()) + 2410)}
    row, err = shown(capsys, items=[later], complete=True)
    assert (row[6], err) == ("overlap, ends in 40 min", "")


FAILURE = {"problem": "invalid_grant", "text": "the provider refuses (invalid_grant)", "failures": 3, "since": AT}
MINTED = {**SET, "rotates": "by_minting", "held": "federated", "renews": None, "due": None}


def test_a_value_that_was_set_is_still_used(capsys: pytest.CaptureFixture[str]) -> None:
    """A federated key for which nothing was minted yet, but which had a value, is called with that, and is said to be."""
    failed = {**MINTED, "mint_failure": {**FAILURE, "request_id": "req_1"}}
    row, err = shown(capsys, items=[failed], complete=True)
    assert row[2] == "set; to be minted"
    assert err == (
        f"warning: openai: the provider refuses (invalid_grant), 3 times in a row since {format_time(AT)}, the provider's"
        " request req_1; the value that was set is still used; see: keybroker federation test openai\n"
    )
    row, err = shown(capsys, items=[MINTED], complete=True)
    assert (row[2], err) == ("set; to be minted", "")


def test_a_key_that_is_minted(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said to be, and how long its credential still lives where there is no new one; also by a server that says less."""
    ends = int(time.time()) + 1250
    row, err = shown(capsys, items=[{**MINTED, "renews": AT, "expires": ends, "mint_failure": FAILURE}], complete=True)
    assert (row[2], bool(re.search("; the credential ends in 2[01] min; see: ", err))) == ("minted", True)
    never = {**MINTED, **dict.fromkeys(("version", "origin", "header", "author", "at"))}
    failure = {"problem": "invalid_grant", "denied": True, "failures": 1}
    row, err = shown(capsys, items=[{**never, "mint_failure": failure}], complete=True)
    assert row[2] == "minted"
    assert ": nothing was minted (invalid_grant), 1 time in a row; there is no credential; see: " in err


@pytest.mark.parametrize("columns", [80, 100, 120, 160])
def test_keys_fit(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is not wider than a terminal, and how long an overlap goes on is whole on each."""
    monkeypatch.setattr(output, "_columns", lambda _stream: columns)
    now = int(time.time())
    author = "arn:aws:sts::000000000000:assumed-role/administrator/ada@example.com"
    times = {"author": author, "at": now - 30 * 86_400, "last_used": now - 60, "due": now + 60 * 86_400 + 9}
    api = {**SET, **times, "rotates": "by_api", "rotation": rotation("overlap", ends=now + 2410)}
    others = ({"name": "anthropic-production", "origin": "https://api.anthropic.com"}, {"rotates": "by_hand"})
    key_table.show({"items": [api, *({**api, "rotation": None, **one} for one in others)], "complete": True})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("NAME")
    assert max(map(width, lines)) <= columns
    assert "40 min left" in lines[1]
