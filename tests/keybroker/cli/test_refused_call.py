"""`keybroker audit --request-id`: the edge's refusal, in words, and where it was looked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from keybroker.cli import edge_log, program, refused_call
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import REFUSED, CommandError
from keybroker.cli.edge_log import Looked

CALL = {
    "at": 1_800_000_000,
    "request_id": "5f2a",
    "reason": "revoked_key",
    "status": 403,
    "key": "openai",
    "grant": "ci",
    "principal": "https://ci.example|repository_id:7",
    "jti": "j-1",
    "cause": "",
    "under_way": False,
}
GROUP = "/aws/lambda/us-east-1.kb-edge"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the broker answers; its audit is empty."""
    said: dict[str, Any] = {"items": [], "next": None, "edge_log": None}

    def get(_self: AdminClient, path: str, _query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  any JSON
        if path == "/admin/audit":
            return {"items": [], "next": None}
        assert path == "/admin/refusals"
        if "error" in said:
            raise said["error"]
        return said

    monkeypatch.setattr(AdminClient, "get", get)
    monkeypatch.setenv("KEYBROKER_URL", "https://broker.example")
    return said


def test_a_refused_call_is_shown(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A call that is kept is shown with its reason in words, and what was verified; what was not is left out."""
    answer["items"] = [CALL]
    assert program.run(["audit", "--request-id", "5f2a"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[2:] == [
        "reason     revoked_key, answered with 403",
        f"meaning    {refused_call.meaning('revoked_key', 403)}",
        "key        openai",
        "grant      ci",
        "principal  https://ci.example|repository_id:7",
        "token      j-1",
    ]
    assert "unknown" not in shown.err


def test_it_is_json_on_a_line(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """For a program it is one object, with the door that tells it from the audit's events."""
    answer["items"] = [CALL]
    assert program.run(["audit", "--request-id", "5f2a", "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {**CALL, "door": "edge", "meaning": refused_call.meaning("revoked_key", 403)}


@pytest.mark.usefixtures("answer")
def test_an_unknown_id_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    """An id that nobody knows is called unknown, and it is said where it was looked for."""
    assert program.run(["audit", "--request-id", "5f2b"]) == 0
    said = capsys.readouterr().err
    assert "no edge keeps a refused call of 5f2b: each is kept for a day" in said
    assert "unknown request" in said


def test_the_log_is_read_where_there_is_one(
    answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where CloudFront's function refuses, its log is read for the time that is asked for."""
    answer["edge_log"] = GROUP
    asked: list[object] = []

    def find(*arguments: object) -> Looked:
        asked.append(arguments)
        return Looked(CALL, ("eu-central-1",), {})

    monkeypatch.setattr(edge_log, "find", find)
    more = ("--since", "1799990000", "--until", "1800000009")
    assert program.run(["audit", "--request-id", "5f2a", *more]) == 0
    assert asked == [(GROUP, "5f2a", 1_799_990_000, 1_800_000_009)]
    assert "revoked_key, answered with 403" in capsys.readouterr().out


def test_what_was_not_read_is_said(
    answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regions in which the log could not be read are named: there the call may be."""
    answer["edge_log"] = GROUP
    monkeypatch.setattr(edge_log, "find", lambda *_: Looked(None, ("eu-central-1",), {"us-east-1": "AccessDenied"}))
    assert program.run(["audit", "--request-id", "5f2a"]) == 0
    said = capsys.readouterr().err
    assert "read in eu-central-1; --since TIME looks further back" in said
    assert "warning: not read in us-east-1: AccessDenied" in said


def test_an_older_broker(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A broker without the route, or an administrator who may not call it, still sees the audit, and a warning."""
    answer["error"] = CommandError(REFUSED, "Missing Authentication Token")
    assert program.run(["audit", "--request-id", "5f2a"]) == 0
    assert "cannot be said: Missing Authentication Token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reason", "status", "says"),
    [
        ("nbf_future", 401, "The token does not verify"),
        ("fault_KeyError", 500, "A fault in Keybroker"),
        ("of_a_newer_version", 403, ""),
    ],
)
def test_reasons_in_words(reason: str, status: int, says: str) -> None:
    """A reason with a claim or an exception in it has words as well; of an unknown one nothing is made up."""
    found = refused_call.meaning(reason, status)
    assert found.startswith(says)
    assert bool(found) == bool(says)
