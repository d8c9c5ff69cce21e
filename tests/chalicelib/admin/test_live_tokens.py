"""Tokens that are said to be alive are those that the edge admits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.admin import live_tokens
from chalicelib.errors import Refusal
from tests.http_door import Door
from tests.parts import NOW, SUB, Parts, claims_of, grant


def found(door: Door, sub: str = SUB) -> dict[str, Any]:
    resource, encoded = "/admin/principals/{principal_id}", quote(sub, safe="")
    answer = door.administer("GET", "/admin/principals/x", resource=resource, parameters={"principal_id": encoded})
    assert answer.status == 200, answer
    told: dict[str, Any] = answer.json
    return told


def counted(door: Door) -> tuple[int, int]:
    told = found(door)
    return len(told["live_tokens"]), told["ended_tokens"]


def is_admitted(parts: Parts, token: str) -> bool:
    try:
        parts.admit(token)
    except Refusal:
        return False
    return True


def revoked(scope: str, target: str) -> Callable[[Parts], None]:
    return lambda parts: parts.restore(parts.revoke(scope, target))


def block(parts: Parts) -> None:
    parts.revoke("key", "openai")


def taint(parts: Parts) -> None:
    before = parts.control.signing_key_list()
    after = before.prepare("another", NOW).taint(parts.signer.kid(), NOW)
    parts.control.change_signing_keys(before, after, parts.event("signing.tainted"))


ENDS: dict[str, Callable[[Parts], None]] = {
    "everything": revoked("everything", "*"),
    "issuer": revoked("issuer", "https://ci.example"),
    "key": revoked("key", "openai"),
    "grant": revoked("grant", "app"),
    "principal": revoked("principal", SUB),
    "blocked": block,
    "tainted": taint,
    "gone": lambda parts: parts.apply(grant().replace("  app:", "  other:")),
    "narrowed": lambda parts: parts.apply(grant(to='{issuer: ci, claims: {repository_owner_id: "1"}}')),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_the_edge_refuses_is_not_alive(parts: Parts, door: Door, end: str) -> None:
    """A token that was revoked, though restored since, or whose signing key or grant is gone, is told apart."""
    token = parts.token()
    assert (is_admitted(parts, token), counted(door)) == (True, (1, 0))
    ENDS[end](parts)
    assert (is_admitted(parts, token), counted(door)) == (False, (0, 1))


def test_a_revoked_token_is_not_alive(parts: Parts, door: Door) -> None:
    """Of two tokens the one that was revoked by itself has ended, and the other one is alive."""
    gone, kept = parts.token(), parts.token()
    parts.revoke("token", str(claims_of(gone)["jti"]))
    told = found(door)
    assert [one["jti"] for one in told["live_tokens"]] == [claims_of(kept)["jti"]]
    assert (is_admitted(parts, gone), is_admitted(parts, kept), told["ended_tokens"]) == (False, True, 1)


def test_a_token_of_after_a_restore_is_alive(parts: Parts, door: Door) -> None:
    """Tokens from before a restore have ended; one that is issued after it is alive."""
    parts.token()
    parts.restore(parts.revoke("principal", SUB))
    assert is_admitted(parts, parts.token())
    assert counted(door) == (1, 1)


def test_an_event_without_epochs_is_alive(parts: Parts, door: Door) -> None:
    """A token of a version that did not note its epochs counts as alive, until a block stops it."""
    parts.token()
    with parts.state.writing() as connection:
        for row, text in connection.execute("SELECT rowid, event FROM audit").fetchall():
            told = json.loads(text) if isinstance(text, str) else None
            assert told is not None
            stripped = json.dumps({**told, "detail": {}})
            connection.execute("UPDATE audit SET event = ? WHERE rowid = ?", (stripped, row))
    parts.restore(parts.revoke("principal", SUB))
    assert counted(door) == (1, 0)
    parts.revoke("principal", SUB)
    assert counted(door) == (0, 1)


def test_more_than_are_looked_up_are_not_complete(parts: Parts, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not every token was looked up by itself, the answer says that it is not complete."""
    monkeypatch.setattr(live_tokens, "LOOKED_UP", 1)
    parts.token()
    assert found(door)["complete"] is True
    parts.token()
    assert (found(door)["complete"], counted(door)) == (False, (2, 0))


def test_grants_that_admit_it(parts: Parts, door: Door) -> None:
    """The grants are those of the policy in force that admit what the principal has shown; none once it is narrowed."""
    parts.token()
    assert found(door)["admitting"]["grants"] == [{"grant": "app", "key": "openai"}]
    parts.apply(grant(to='{issuer: ci, claims: {repository_owner_id: "1"}}'))
    assert found(door)["admitting"] == {"version": 2, "grants": []}


def test_any_identity_of_it_counts(parts: Parts, door: Door) -> None:
    """A grant that admits an earlier identity of a principal is named, though its newest events are of others."""
    parts.token()
    for number in range(25):
        with pytest.raises(Refusal, match="no_grant"):
            parts.token(ref=f"refs/heads/other-{number}")
    assert found(door)["admitting"]["grants"] == [{"grant": "app", "key": "openai"}]


def test_who_showed_nothing_is_not_told_of(parts: Parts, door: Door) -> None:
    """Of a principal of whom no identity was recorded, nothing is claimed."""
    parts.revoke("principal", "https://ci.example|repository_id:9")
    assert found(door, "https://ci.example|repository_id:9")["admitting"] == {"version": 1, "grants": None}
