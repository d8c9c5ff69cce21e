from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.admin import revocations as admin_revocations
from chalicelib.errors import Refusal
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.revocation import SCOPES, RevocationTarget
from tests.http_door import ADA, Door, admin_door, problem
from tests.parts import CI, NOW, SUB, Parts
from tests.running import Answer, Running

REVOCATIONS = "/admin/revocations"
KEY = "0123456789abcdef0123456789abcdef"
BOB = "arn:aws:iam::123456789012:user/bob"


def asked(**changes: object) -> dict[str, object]:
    """A body; whether its principal or token was seen, test_seen.py looks at."""
    body = {"scope": "principal", "id": SUB, "reason": "left the company", **changes}
    return {**body, "unseen": True} if body["scope"] in ("principal", "token") else body


def revoke(door: Door, key: str | None = None, by: str = ADA, **changes: object) -> Answer:
    headers = {} if key is None else {"idempotency-key": key}
    return door.administer_as(by, "POST", REVOCATIONS, asked(**changes), headers=headers)


def delete(door: Door, revocation_id: str, **query: str) -> Answer:
    resource, parameters = f"{REVOCATIONS}/{{revocation_id}}", {"revocation_id": revocation_id}
    return door.administer("DELETE", f"{REVOCATIONS}/x", resource=resource, parameters=parameters, query=query)


def listed(door: Door, **query: str) -> list[dict[str, Any]]:
    answer = door.administer("GET", REVOCATIONS, query=query)
    assert answer.status == 200, answer
    return list(answer.json["items"])


# the list


def test_list_revocations(parts: Parts, door: Door) -> None:
    """Revocations are listed newest first, each with whether it is in force."""
    ids = [revoke(door, scope=scope, id=id_).json["id"] for scope, id_ in (("key", "openai"), ("grant", "app"))]
    ended = parts.revoke("issuer", CI, until=NOW - 1)
    delete(door, ids[0])
    answer = door.administer("GET", REVOCATIONS)
    assert answer.json.keys() == {"items", "next"}
    found = {one["id"]: one for one in answer.json["items"]}
    assert {one: found[one]["in_force"] for one in found} == {ids[0]: False, ids[1]: True, ended: False}
    assert found[ids[0]]["lifted_by"] == ADA
    assert found[ids[1]].keys() == {
        *("id", "scope", "target", "reason", "author", "at", "until", "lifted_at", "lifted_by", "in_force")
    }


def test_revocation_filters(parts: Parts, door: Door) -> None:
    """Revocations are filtered by scope and by whether they are in force."""
    made = {
        scope: parts.revoke(scope, "openai" if scope == "key" else "app") for scope in ("key", "grant", "principal")
    }
    parts.restore(made["grant"])
    assert [one["id"] for one in listed(door, scope="key")] == [made["key"]]
    assert {one["id"] for one in listed(door, in_force="true")} == {made["key"], made["principal"]}
    assert [one["id"] for one in listed(door, in_force="false")] == [made["grant"]]
    assert listed(door, scope="grant", in_force="true") == []


def test_token_revocations_are_opt_in(parts: Parts, door: Door) -> None:
    """Revocations of single tokens are listed only with `scope=token`."""
    made = parts.revoke("token", "a-jti")
    assert listed(door) == []
    assert [one["id"] for one in listed(door, scope="token")] == [made]


@pytest.mark.parametrize("in_force", ["true", "false", None])
def test_revocation_pages(parts: Parts, door: Door, monkeypatch: pytest.MonkeyPatch, in_force: str | None) -> None:
    """Pages list every revocation once."""
    monkeypatch.setattr(admin_revocations, "PAGE_LIMIT", 3)  # so that one page is made of several, too
    made = [parts.revoke("principal", f"p-{number}") for number in range(14)]
    for number in (0, 3, 4, 5, 6, 7, 8, 13):
        parts.restore(made[number])
    wanted = {one["id"] for one in listed(door, limit="200", **({"in_force": in_force} if in_force else {}))}
    assert len(wanted) == {"true": 6, "false": 8, None: 14}[in_force]
    seen: list[str] = []
    query = {"limit": "2"} | ({"in_force": in_force} if in_force else {})
    for _ in range(20):
        page = door.administer("GET", REVOCATIONS, query=query).json
        assert len(page["items"]) <= 2
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert len(seen) == len(set(seen))
    assert set(seen) == wanted


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"scope": "user"}, "scope must be one of everything, issuer, key, grant, principal, token"),
        ({"scope": ""}, "scope must be one of everything, issuer, key, grant, principal, token"),
        ({"in_force": "1"}, "in_force must be one of true, false"),
        ({"limit": "201"}, "limit must be a whole number from 1 to 200"),
        ({"limit": "9" * 1000}, "limit must be a whole number from 1 to 200"),
        ({"limit": "9" * 5000}, "limit must be text of at most 1024 characters"),
        ({"limit": "٣"}, "limit must be a whole number from 1 to 200"),
        ({"after": "garbage"}, "after must be the `next` of the previous page"),
        ({"after": "1#"}, "after must be the `next` of the previous page"),
        ({"after": "-1#x"}, "after must be the `next` of the previous page"),
        ({"after": "9" * 17 + "#x"}, "after must be the `next` of the previous page"),
        ({"after": "1#\x00"}, None),
        ({"after": "\ud800"}, "after must be text of at most 1024 characters"),
        (
            {"Scope": "key"},
            "unknown or repeated query parameters: this route takes scope, in_force, limit, after, each once",
        ),
        (
            {"scope": ["key", "grant"]},
            "unknown or repeated query parameters: this route takes scope, in_force, limit, after, each once",
        ),
    ],
)
def test_revocations_bad_query(door: Door, query: dict[str, Any], detail: str | None) -> None:
    """An invalid filter or cursor is a 400 that says what is allowed."""
    answer = door.administer("GET", REVOCATIONS, query=query)
    if detail is None:
        assert (answer.status, answer.json["items"]) == (200, [])
    else:
        assert problem(answer) == (400, "invalid_request", detail)


# once, however often


def test_idempotent_revoke(parts: Parts, door: Door) -> None:
    """A repeated request with its Idempotency-Key gets the same response and changes nothing."""
    first = revoke(door, KEY, until=NOW + 60)
    later = admin_door(parts, clock=lambda: NOW + 30)
    again = [revoke(one, KEY, until=NOW + 60) for one in (door, later, later)]
    assert [(one.status, one.json) for one in again] == [(201, first.json)] * 3
    assert first.json["at"] == NOW
    assert len(parts.events(kind="revocation.made")) == 1
    revocation_states = parts.control.revocation_state(RevocationTarget("principal", SUB))
    assert (revocation_states.epoch, revocation_states.blocks) == (1, ((first.json["id"], NOW + 60),))


def test_revoke_without_key(parts: Parts, door: Door) -> None:
    """Without an Idempotency-Key each request is a revocation of its own."""
    assert revoke(door).json["id"] != revoke(door).json["id"]
    assert parts.control.revocation_state(RevocationTarget("principal", SUB)).epoch == 2


@pytest.mark.parametrize(
    "other", [{"reason": "another"}, {"id": "p-2"}, {"scope": "grant", "id": "app"}, {"until": NOW + 60}]
)
def test_reused_idempotency_key(parts: Parts, door: Door, other: dict[str, Any]) -> None:
    """An Idempotency-Key with a different request is a 422 and changes nothing."""
    first = revoke(door, KEY)
    assert problem(revoke(door, KEY, **other)) == (
        422,
        "idempotency_key_reused",
        "this Idempotency-Key was used for a different request; use a new key for each request",
    )
    assert len(parts.events(kind="revocation.made")) == 1
    assert [one["id"] for one in listed(door)] == [first.json["id"]]
    assert parts.control.revocation_state(RevocationTarget("grant", "app")).epoch == 0


def test_key_is_per_author(parts: Parts, door: Door) -> None:
    """The same Idempotency-Key of another author is another revocation."""
    mine, theirs = revoke(door, KEY), revoke(door, KEY, by=BOB)
    assert (mine.status, theirs.status) == (201, 201)
    assert mine.json["id"] != theirs.json["id"]
    assert (mine.json["author"], theirs.json["author"]) == (ADA, BOB)
    assert len(parts.events(kind="revocation.made")) == 2


def test_key_is_hashed(door: Door) -> None:
    """The Idempotency-Key cannot be read from the revocation's id."""
    answer = revoke(door, KEY)
    assert answer.json["id"].startswith("retry-")
    assert KEY not in answer.body.decode()


def test_retry_after_restore(parts: Parts, door: Door) -> None:
    """A repeated request after a restore does not revoke again."""
    made = revoke(door, KEY).json["id"]
    delete(door, made)
    again = revoke(door, KEY)
    assert (again.status, again.json["id"], again.json["lifted_at"]) == (201, made, NOW)
    parts.admit(parts.token())


@pytest.mark.parametrize("key", ["", "x" * 21, "x" * 257, "é" * 30, "\t" * 30])
def test_bad_idempotency_key(parts: Parts, door: Door, key: str) -> None:
    """An invalid Idempotency-Key is a 400, as at the token endpoint."""
    text = "Idempotency-Key must have 22 to 256 printable characters, with 128 random bits"
    assert problem(revoke(door, key)) == (400, "invalid_request", text)
    assert parts.events(kind="revocation.made") == ()


def test_restore_says_what_is_so(door: Door) -> None:
    """Restoring says whether it was restored before, and whether another revocation still blocks."""
    first, second = (revoke(door, scope="grant", id="app").json["id"] for _ in range(2))
    answers = [delete(door, one).json for one in (first, second)]
    again = door.administer_as(
        BOB,
        "DELETE",
        f"{REVOCATIONS}/x",
        resource=f"{REVOCATIONS}/{{revocation_id}}",
        parameters={"revocation_id": first},
    ).json
    said = [(one["already_restored"], one["still_blocked"]) for one in (*answers, again)]
    assert said == [(False, True), (False, False), (True, False)]
    assert again["lifted_by"] == ADA


def test_concurrent_revoke(running: Running) -> None:
    """Of concurrent requests with one Idempotency-Key, one revokes."""
    body = {"scope": "principal", "id": running.sub("8101"), "reason": "at once", "unseen": True}

    def ask(_: int) -> Answer:
        return running.administer("POST", REVOCATIONS, body, {"idempotency-key": KEY + "-at-once"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(24)))
    assert {one.status for one in answers} <= {201, 503}  # 503: the state file was busy, and nothing was changed
    assert len({one.body for one in answers if one.status == 201}) == 1
    path = f"/admin/audit?kind=revocation.made&principal={quote(running.sub('8101'), safe='')}"
    assert len(running.administer("GET", path).json["items"]) == 1


# rehearsed


def test_revoke_dry_run(parts: Parts, door: Door) -> None:
    """A dry run says who would be cut off and changes nothing."""
    token = parts.token()
    parts.admit(token)
    before = parts.events()
    answer = door.administer("POST", REVOCATIONS, asked(), query={"dry_run": "true"})
    assert (answer.status, answer.json) == (
        200,
        {
            "dry_run": True,
            "principals": [
                {"principal": SUB, "name": "octo-org/app", "grants": ["app"], "live_tokens": 1, "calls_last_hour": 1}
            ],
            "tokens": 1,
            "calls_last_hour": 1,
            "complete": True,
        },
    )
    assert parts.events() == before
    assert listed(door) == []
    parts.admit(token)


def test_dry_run_false(parts: Parts, door: Door) -> None:
    """`dry_run=false` revokes."""
    assert door.administer("POST", REVOCATIONS, asked(), query={"dry_run": "false"}).status == 201
    assert parts.control.revocation_state(RevocationTarget("principal", SUB)).blocked(NOW)


def test_misspelt_dry_run(parts: Parts, door: Door) -> None:
    """A misspelt `dry_run` is a 400 and changes nothing."""
    made = revoke(door).json["id"]
    queries: list[dict[str, Any]] = [{"dry-run": "true"}, {"DRY_RUN": "true"}, {"dryRun": ""}]
    queries += [{"dry_run": value} for value in ("", "1", "True", "yes", "true ", ["true", "false"], ["false", "true"])]
    for query in queries:
        assert problem(door.administer("POST", REVOCATIONS, asked(), query=query))[:2] == (400, "invalid_request")
        assert problem(delete(door, made, **query))[:2] == (400, "invalid_request")
    assert parts.control.revocation_state(RevocationTarget("principal", SUB)).epoch == 1
    assert [one["in_force"] for one in listed(door)] == [True]


@pytest.mark.parametrize("scope", ["issuer", "key", "grant"])
def test_dry_run_unknown_target(door: Door, scope: str) -> None:
    """A dry run for an unknown target is the same 404 as the revocation."""
    body = asked(scope=scope, id="no-such")
    real, rehearsed = (door.administer("POST", REVOCATIONS, body, query={"dry_run": one}) for one in ("false", "true"))
    assert problem(real) == problem(rehearsed) == (404, "not_found", f"there is no {scope} of this name: 'no-such'")


@pytest.mark.parametrize("body", ["{", {}, asked(until=NOW), asked(scope="user")])
def test_dry_run_malformed(door: Door, body: object) -> None:
    """A dry run of a malformed request is the same 400 as the revocation."""
    real, rehearsed = (door.administer("POST", REVOCATIONS, body, query={"dry_run": one}) for one in ("false", "true"))
    assert problem(real) == problem(rehearsed)
    assert real.status == 400


@pytest.mark.parametrize("scope", SCOPES)
def test_restore_dry_run(parts: Parts, door: Door, scope: str) -> None:
    """A dry run of a restore says whether the target would still be blocked."""
    ids = {"everything": "*", "issuer": CI, "key": "openai", "grant": "app", "principal": SUB, "token": "a-jti"}
    first, second = (parts.revoke(scope, ids[scope]) for _ in range(2))
    answer = delete(door, first, dry_run="true")
    assert answer.status == 200
    assert (answer.json["dry_run"], answer.json["id"], answer.json["lifted_at"]) == (True, first, None)
    assert (answer.json["in_force"], answer.json["still_blocked"]) == (True, True)
    assert parts.events(kind="revocation.lifted") == ()
    delete(door, second)
    assert delete(door, first, dry_run="true").json["still_blocked"] is False
    assert parts.control.revocation_state(RevocationTarget(scope, ids[scope])).blocked(NOW)


@pytest.mark.parametrize(
    "revocation_id",
    ["nothing", "a/b", "\x00", "é", "../x", "x" * 201, "x" * 5000, "", " ", '"; DROP TABLE revocations; --', "\ud800"],
)
@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_unknown_revocation_id(door: Door, revocation_id: str, dry_run: str) -> None:
    """An unknown id is a 404."""
    revoke(door)
    answer = delete(door, quote(revocation_id.encode("utf-8", "surrogatepass"), safe=""), dry_run=dry_run)
    assert problem(answer) == (404, "not_found", "no such revocation")
    assert [one["in_force"] for one in listed(door)] == [True]


@pytest.mark.parametrize("path", ["a%2Fb", "%00", "..%2F..", "x" * 500, "%C3%A9", "%FF"])
def test_odd_revocation_id(running: Running, path: str) -> None:
    """An odd id over HTTP is a 404."""
    for query in ("", "?dry_run=true"):
        answer = running.administer("DELETE", f"{REVOCATIONS}/{path}{query}")
        assert (answer.status, answer.json["title"]) == (404, "not_found")


def test_dry_run_needs_identity(parts: Parts, door: Door) -> None:
    """A dry run needs an administrator's identity."""
    ask: list[Callable[[], Answer]] = [
        lambda: door.ask("POST", REVOCATIONS, asked(), query={"dry_run": "true"}),
        lambda: door.ask("GET", REVOCATIONS, identity={}),
    ]
    parts.token()
    assert [problem(one())[:2] for one in ask] == [(403, "forbidden")] * 2


# revoking and restoring


def test_revoke_is_in_force(parts: Parts, door: Door) -> None:
    """A 201 means that the revocation is in force and recorded."""
    token = parts.token()
    answer = door.administer("POST", REVOCATIONS, asked(until=NOW + 60))
    assert answer.status == 201
    assert answer.json == {
        "id": answer.json["id"],
        "scope": "principal",
        "target": SUB,
        "reason": "left the company",
        "author": ADA,
        "at": NOW,
        "until": NOW + 60,
        "lifted_at": None,
        "lifted_by": None,
    }
    with pytest.raises(Refusal, match="revoked_principal"):
        parts.admit(token)
    (event,) = parts.events(kind="revocation.made")
    assert (event.actor, event.principal, event.request_id) == (ADA, SUB, "request-1")
    assert event.detail == {
        "revocation": answer.json["id"],
        "scope": "principal",
        "target": SUB,
        "why": "left the company",
    }


def test_restore_by_id(parts: Parts, door: Door) -> None:
    """Restoring by id ends the block, once, with one audit event."""
    made = door.administer("POST", REVOCATIONS, asked()).json["id"]
    resource, parameters = f"{REVOCATIONS}/{{revocation_id}}", {"revocation_id": made}
    for _ in range(2):  # restoring twice changes nothing
        answer = door.administer("DELETE", f"{REVOCATIONS}/{made}", resource=resource, parameters=parameters)
        assert (answer.status, answer.json["lifted_at"], answer.json["lifted_by"]) == (200, NOW, ADA)
    (event,) = parts.events(kind="revocation.lifted")
    assert (event.actor, event.principal) == (ADA, SUB)
    assert event.detail == {"revocation": made, "scope": "principal", "target": SUB, "why": "left the company"}
    parts.admit(parts.token())


def test_restore_unknown(door: Door) -> None:
    """Restoring an unknown revocation is a 404 as an RFC 9457 problem."""
    resource, parameters = f"{REVOCATIONS}/{{revocation_id}}", {"revocation_id": "nothing"}
    answer = door.administer("DELETE", f"{REVOCATIONS}/nothing", resource=resource, parameters=parameters)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json == {
        "type": "about:blank",
        "title": "not_found",
        "status": 404,
        "detail": "no such revocation",
        "request_id": "request-1",
    }


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (None, "malformed JSON body"),
        ("{", "malformed JSON body"),
        ("[" * 50_000, "malformed JSON body"),
        ("[]", "the body must be a JSON object"),
        ('{"scope": "key", "scope": "grant"}', "a parameter was sent twice"),
        (asked(scope="user"), "scope must be one of"),
        (asked(id=""), "id must be text"),
        (asked(id="\ud800"), "id must be Unicode text"),
        (asked(reason=5), "reason must be text"),
        ({"scope": "key", "id": "openai"}, "reason must be text"),
        (asked(until=NOW), "until must be in the future"),
        (asked(more=1), "unknown members: more"),
    ],
)
def test_malformed_revocation(parts: Parts, door: Door, body: object, detail: str) -> None:
    """A malformed revocation is a problem that names the fault, and nothing is revoked."""
    answer = door.administer("POST", REVOCATIONS, body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (answer.json["title"], answer.json["status"], answer.json["type"]) == ("invalid_request", 400, "about:blank")
    assert answer.json["detail"].startswith(detail)
    assert parts.events(kind="revocation.made") == ()


def test_revocation_body_limit(door: Door) -> None:
    """A revocation over 64 KiB is a 413."""
    assert door.administer("POST", REVOCATIONS, " " * (BODY_LIMIT + 1)).status == 413
