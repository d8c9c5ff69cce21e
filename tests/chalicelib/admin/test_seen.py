from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.audit import IssuedCount, Page, Query
from chalicelib.errors import StateUnavailable
from chalicelib.revocation import RevocationTarget
from tests.http_door import Door, admin_door
from tests.parts import CI, NOW, SUB, Parts, claims_of

REVOCATIONS = "/admin/revocations"
NAME = "octo-org/app"
ROLE = "arn:aws:iam::123456789012:role/app"
BOTH = pytest.mark.parametrize("query", [{}, {"dry_run": "true"}], ids=["made", "rehearsed"])


def asked(
    door: Door, target: str, query: dict[str, str] | None = None, **more: object
) -> tuple[int, dict[str, object]]:
    body = {"scope": "principal", "id": target, "reason": "left the company", **more}
    answer = door.administer("POST", REVOCATIONS, body, query=query or {})
    return answer.status, answer.json


def blocked(parts: Parts, sub: str) -> bool:
    return parts.control.revocation_state(RevocationTarget("principal", sub)).blocked(NOW)


@BOTH
def test_a_principal_that_was_never_seen(parts: Parts, door: Door, query: dict[str, str]) -> None:
    """A mistyped id is refused with the nearest ones by id and name, and nobody is revoked; its dry run is, too."""
    parts.token()
    status, body = asked(door, SUB.replace("1234", "1243"), query)
    assert (status, body["title"]) == (404, "not_found")
    assert f"nearest: {SUB} ({NAME})" in str(body["detail"])
    assert "--unseen" in str(body["detail"])
    assert parts.events(kind="revocation.made") == ()


def test_unseen_revokes_all_the_same(parts: Parts, door: Door) -> None:
    """A principal can be revoked before its first call, if that is asked for."""
    status, body = asked(door, f"{CI}|repository_id:77", unseen=True)
    assert (status, body["target"]) == (201, f"{CI}|repository_id:77")
    assert blocked(parts, f"{CI}|repository_id:77")
    assert asked(door, f"{CI}|repository_id:77")[0] == 201  # a revocation names it now


@BOTH
def test_a_name_of_one_principal(parts: Parts, door: Door, query: dict[str, str]) -> None:
    """A name that just one principal has stands for it, and the answer and the audit have its id."""
    token = parts.token()
    status, body = asked(door, NAME, query)
    if query:
        assert (status, [one["principal"] for one in body["principals"]]) == (200, [SUB])  # type: ignore[attr-defined]  # JSON
        return
    assert (status, body["target"]) == (201, SUB)
    assert parts.events(kind="revocation.made")[0].principal == SUB
    assert token
    assert blocked(parts, SUB)


def test_a_name_of_several_principals(parts: Parts, door: Door) -> None:
    """A name that several principals have is refused with their ids."""
    parts.token()
    parts.token(repository_id="77")
    status, body = asked(door, NAME)
    assert (status, body["title"]) == (422, "ambiguous")
    assert all(sub in str(body["detail"]) for sub in (SUB, f"{CI}|repository_id:77"))
    assert parts.events(kind="revocation.made") == ()


@pytest.mark.parametrize("days", [0, 1, 2, 30])
def test_an_event_is_enough(parts: Parts, days: int) -> None:
    """Whom only an event of long ago names was seen."""
    parts.token()
    door = admin_door(parts, clock=lambda: NOW + days * 86400)
    assert asked(door, SUB)[0] == 201


def test_a_refused_principal_was_seen(parts: Parts, door: Door) -> None:
    """A principal that proved its identity was seen, even if no grant admits it."""
    with pytest.raises(Exception, match="no_grant"):
        parts.token(repository_owner_id="1", repository_id="88")
    assert asked(door, f"{CI}|repository_id:88")[0] == 201


def test_a_pinned_principal_was_seen(parts: Parts, door: Door) -> None:
    """A role that was pinned before its first use was seen."""
    parts.control.pin(ROLE, "AROAEXAMPLE0000000000", replace(parts.event("principal.pinned"), principal=ROLE))
    assert asked(door, ROLE)[0] == 201


class _NoAudit:
    """An audit that is out of reach, or never read to its end."""

    def __init__(self, *, away: bool) -> None:
        self._away = away

    def record(self, event: object) -> None:
        raise AssertionError(event)

    def page(self, query: Query) -> Page:
        if self._away:
            raise StateUnavailable
        return Page((), f"{query.after}1")

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        raise AssertionError(since, until, at_most)


@pytest.mark.parametrize("scope", ["principal", "token"])
def test_unseen_needs_no_look(parts: Parts, scope: str) -> None:
    """While nothing can be looked up the answer is a 503 that names the way round it, which works."""
    door = admin_door(parts, audit=_NoAudit(away=True))
    status, body = asked(door, f"{CI}|repository_id:77", scope=scope)
    assert (status, "--unseen" in str(body["detail"])) == (503, True)
    assert asked(door, f"{CI}|repository_id:77", scope=scope, unseen=True)[0] == 201


@pytest.mark.parametrize(("scope", "target"), [("principal", f"{CI}|repository_id:77"), ("token", "a-jti")])
def test_an_audit_without_end_stops_no_revocation(parts: Parts, scope: str, target: str) -> None:
    """What the audit might name, had it been read to its end, is revoked."""
    door = admin_door(parts, audit=_NoAudit(away=False))
    assert asked(door, target, scope=scope)[0] == 201


def test_text_that_is_no_id_is_not_looked_up(parts: Parts) -> None:
    """A name is no id, however long the audit is."""
    door = admin_door(parts, audit=_NoAudit(away=False))
    assert asked(door, NAME)[0] == 404


@BOTH
def test_a_token_that_was_never_issued(parts: Parts, door: Door, query: dict[str, str]) -> None:
    """A `jti` that was not issued within the last hour is refused, unless it is to be revoked unseen."""
    jti = str(claims_of(parts.token())["jti"])
    assert asked(door, jti, query, scope="token")[0] == (200 if query else 201)
    status, body = asked(door, f"{jti}x", query, scope="token")
    assert (status, body["title"]) == (404, "not_found")
    assert asked(door, f"{jti}x", query, scope="token", unseen=True)[0] == (200 if query else 201)


@pytest.mark.parametrize("unseen", ["true", 1, None])
def test_unseen_is_true_or_false(door: Door, unseen: object) -> None:
    assert asked(door, SUB, unseen=unseen)[0] == 400


def test_unseen_is_for_principals_and_tokens(door: Door) -> None:
    """What a policy has to have named cannot be revoked unseen."""
    assert asked(door, "app", scope="grant", unseen=True)[0] == 400


@pytest.mark.parametrize("path", ["/admin/usage", "/admin/audit"])
def test_a_filter_for_what_never_was(parts: Parts, door: Door, path: str) -> None:
    """A list that is empty says which principal, grant or key never was; one of what is known says nothing."""
    parts.token()

    def unknown(**query: str) -> object:
        answer = door.administer("GET", path, query=query)
        assert answer.status == 200, answer
        return answer.json.get("unknown") if answer.json["items"] == [] else "found"

    assert unknown(principal=SUB.replace("1234", "1243"), grant="app") == ["principal"]
    assert unknown(principal="a" * 900, grant="ap", key="opnai") == ["principal", "grant", "key"]
    assert unknown(principal=SUB) == "found"
    assert unknown(principal=SUB, key="anthropic") is None
    assert "usage" in path or unknown(kind="nope") == ["kind"]
    assert unknown(grant="app", **({"kind": "token.refused"} if "audit" in path else {"at": "1"})) is None


def test_nothing_is_looked_for_without_need(door: Door) -> None:
    """Without a filter, an empty list says nothing more."""
    assert "unknown" not in door.administer("GET", "/admin/usage").json
