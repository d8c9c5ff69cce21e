from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.admin import activity
from chalicelib.errors import Refusal
from chalicelib.usage import UsagePage, UsageQuery, Use
from local.sqlite.usage import SqliteUsage
from tests.http_door import ADA, Door, admin_door
from tests.parts import CI, CLUSTER, NOW, SUB, Parts, claims_of, grant, mint
from tests.running import Answer, Running

PRINCIPALS = "/admin/principals"
DAY = 86400
TODAY = NOW - NOW % DAY
ROLE = "arn:aws:iam::123456789012:role/app"


def one_of(door: Door, sub: str) -> Answer:
    resource, encoded = f"{PRINCIPALS}/{{principal_id}}", quote(sub.encode("utf-8", "surrogatepass"), safe="")
    return door.administer("GET", f"{PRINCIPALS}/x", resource=resource, parameters={"principal_id": encoded})


def walk(door: Door, limit: int) -> list[dict[str, Any]]:
    """Every principal, page after page."""
    found: list[dict[str, Any]] = []
    query = {"limit": str(limit)}
    for _ in range(100):
        page = door.administer("GET", PRINCIPALS, query=query).json
        assert len(page["items"]) <= limit
        found += page["items"]
        if page["next"] is None:
            return found
        query["after"] = page["next"]
    raise AssertionError("the pages do not end")


def used(parts: Parts, uses: dict[str, list[str]], at: int = NOW) -> None:
    """Count a token for each principal under each of its grants in the day of a time."""
    rows = [(name, sub, at - at % DAY, at - at % 60) for sub, names in uses.items() for name in names]
    with parts.state.writing() as connection:
        connection.executemany(
            "INSERT INTO counters (what, grant_name, principal, window, start, taken, seen, key, name)"
            " VALUES ('tokens', ?, ?, 'day', ?, 1, ?, 'openai', 'a name')",
            rows,
        )


# the list


def test_list_principals(parts: Parts, door: Door) -> None:
    """Principals active today or yesterday are listed with everything they did on both days."""
    parts.exchange(mint(now=TODAY - 1), TODAY - 1)
    token = parts.token(repository="octo-org/renamed")
    parts.admit(token)
    with pytest.raises(Refusal, match="out_of_scope"):
        parts.admit(token, "/v1/files")
    parts.apply(grant(quota="{tokens: 100/hour, calls: 1/minute}"))
    with pytest.raises(Refusal, match="quota_calls"):
        parts.admit(token)
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(repository_owner_id="1", repository="octo-org/renamed"))
    answer = door.administer("GET", PRINCIPALS)
    assert (answer.status, answer.json) == (
        200,
        {
            "items": [
                {
                    "principal": SUB,
                    "name": "octo-org/renamed",
                    "issuer": CI,
                    "grants": ["app"],
                    "last_seen": NOW,
                    "tokens": 2,
                    "calls": 1,
                    "refused": 3,
                }
            ],
            "next": None,
        },
    )


def test_inactive_are_not_listed(parts: Parts, door: Door) -> None:
    """A principal that was active before yesterday, or never, is not listed."""
    for at in (TODAY - DAY - 1, TODAY - DAY):
        parts.exchange(mint(now=at, repository_id=str(at)), at)
    parts.revoke("principal", "nobody")
    assert [one["principal"] for one in walk(door, 50)] == [f"{CI}|repository_id:{TODAY - DAY}"]


def test_issuer_of_principal(parts: Parts, door: Door) -> None:
    """The issuer is taken from the principal, and is `aws` for an ARN."""
    used(parts, {ROLE: ["app"], f"{CLUSTER}|sub:a|b": ["pods"]})
    assert {one["principal"]: one["issuer"] for one in walk(door, 50)} == {ROLE: "aws", f"{CLUSTER}|sub:a|b": CLUSTER}


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
@pytest.mark.parametrize("port_page", [1, 2, 3, 7, 200])
def test_principal_pages(parts: Parts, door: Door, monkeypatch: pytest.MonkeyPatch, limit: int, port_page: int) -> None:
    """Each principal is listed once with everything it did, however large pages are."""
    monkeypatch.setattr(activity, "PAGE_LIMIT", port_page)
    monkeypatch.setattr(activity, "PAGES", 20)
    today = {"a": ["g1", "g2", "g3"], "b": ["g1"], "a#g": ["g1", "g2"], "d": ["g1", "g2"], "a b": ["g9"], "": []}
    yesterday = {"a": ["g2", "g4"], "c": ["g1", "g2", "g3", "g4"], "d": ["g1"], "a#g#g1": ["g0"]}
    used(parts, today)
    used(parts, yesterday, NOW - DAY)
    found = walk(door, limit)
    assert sorted(one["principal"] for one in found) == sorted({*today, *yesterday} - {""})
    for one in found:
        sub = one["principal"]
        both = today.get(sub, []) + yesterday.get(sub, [])
        assert (one["tokens"], one["grants"]) == (len(both), sorted(set(both)))
        assert one["last_seen"] == (NOW if sub in today else NOW - DAY)


def test_bounded_page(parts: Parts, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that found little within its bound of reads has a next one."""
    monkeypatch.setattr(activity, "PAGE_LIMIT", 1)
    monkeypatch.setattr(activity, "PAGES", 4)
    used(parts, {"a": [f"g{number}" for number in range(4)], "b": ["g1"]}, NOW - DAY)
    assert [one["principal"] for one in walk(door, 50)] == ["a", "b"]
    assert door.administer("GET", PRINCIPALS).json["next"] is not None


def test_active_again_while_paging(parts: Parts, door: Door) -> None:
    """A principal of yesterday that becomes active while pages are turned is not missed."""
    used(parts, {"a": ["g1"], "b": ["g1"], "c": ["g1"]}, NOW - DAY)
    used(parts, {"z": ["g1"]})
    first = door.administer("GET", PRINCIPALS, query={"limit": "1"}).json
    used(parts, {"a": ["g0"], "b": ["g0"], "c": ["g0"], "y": ["g1"]})
    rest = door.administer("GET", PRINCIPALS, query={"after": first["next"]}).json["items"]
    assert [one["principal"] for one in (*first["items"], *rest)] == ["a", "b", "c", "y", "z"]


def test_paging_over_midnight(parts: Parts, door: Door) -> None:
    """A list that is read past midnight keeps the days it began with."""
    used(parts, {"a": ["g1"], "b": ["g1"]}, NOW - DAY)
    first = door.administer("GET", PRINCIPALS, query={"limit": "1"}).json

    def on(now: int, after: str) -> Answer:
        later = admin_door(parts, clock=lambda: now)
        return later.administer("GET", PRINCIPALS, query={"after": after})

    assert [one["principal"] for one in on(TODAY + DAY, first["next"]).json["items"]] == ["b"]
    assert on(TODAY + 2 * DAY, first["next"]).status == 400


class Shuffled:
    """Usage whose next page begins at a use that did nothing, as DynamoDB's does."""

    def __init__(self, usage: SqliteUsage) -> None:
        self._usage = usage

    def uses(self, query: UsageQuery) -> UsagePage:
        page = self._usage.uses(replace(query, limit=1))
        return UsagePage(tuple(use for use in page.uses if use.grant != "g1"), page.next)

    def recent_calls(self, *_: object) -> dict[tuple[str, str], int]:
        return {}


class ByPlace:
    """Usage in the order of places, as DynamoDB keeps it: `a b#g` before `a#g`, and `a#b#g` among the grants of `a`."""

    def __init__(self, uses: dict[str, list[str]]) -> None:
        self._uses = sorted((Use(sub, name, tokens=1) for sub in uses for name in uses[sub]), key=Use.cursor_key)

    def uses(self, query: UsageQuery) -> UsagePage:
        found = [one for one in self._uses if one.cursor_key() > query.after and query.principal in ("", one.principal)]
        shown = tuple(found[: query.limit])
        return UsagePage(shown, shown[-1].cursor_key() if len(found) > len(shown) else "")

    def recent_calls(self, *_: object) -> dict[tuple[str, str], int]:
        return {}


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize("port_page", [1, 2, 3, 200])
def test_other_order_of_uses(monkeypatch: pytest.MonkeyPatch, limit: int, port_page: int) -> None:
    """No principal is missed or repeated if uses come in another order."""
    monkeypatch.setattr(activity, "PAGE_LIMIT", port_page)
    uses = {"a": ["c", "k", "z"], "a b": ["c", "z"], 'a"': ["c"], "ab": ["c", "d"], "a#m": ["g"], "b": ["c"]}
    seen: list[activity.PrincipalActivity] = []
    after = ""
    for _ in range(50):
        page = activity.page(ByPlace(uses), NOW, after, limit)
        seen += page.principals
        after = page.next
        if not after:
            break
    assert sorted(one.principal for one in seen) == sorted(uses)
    for one in seen:
        assert one.tokens == 2 * len(uses[one.principal])  # both days are the same here


def test_use_missing_from_page(parts: Parts) -> None:
    """A use that is missing from its page hides no principal."""
    used(parts, {"a": ["g1", "g2"], "b": ["g1"], "c": ["g0", "g1", "g2"]})
    usage = Shuffled(SqliteUsage(parts.state))
    seen, after = [], ""
    for _ in range(20):
        page = activity.page(usage, NOW, after, 1)
        seen += [one.principal for one in page.principals]
        after = page.next
        if not after:
            break
    assert seen == ["a", "c"]


@pytest.mark.parametrize(
    "after",
    [
        "garbage",
        "x:y:-z#g",
        f"{TODAY}:{TODAY}",
        f"{TODAY}:{TODAY}:",
        f"{TODAY}:{TODAY}:=garbage",
        f"{TODAY}:{TODAY}:-garbage",
        f"{TODAY}:{TODAY - 2 * DAY}:-a#g",
        f"{TODAY - DAY}:{TODAY}:-a#g",
        f"{TODAY + DAY}:{TODAY}:-a#g",
        f"{TODAY + 1}:{TODAY + 1}:-a#g",
        f"{TODAY}:{TODAY}:?a#g",
        f"0{TODAY}:{TODAY}:-a#g",
        "9" * 1000,
        "::",
    ],
)
def test_principals_bad_cursor(door: Door, after: str) -> None:
    """A cursor that we did not make is a 400."""
    answer = door.administer("GET", PRINCIPALS, query={"after": after})
    assert (answer.status, answer.json["detail"]) == (400, "after must be the `next` of the previous page")


# one of them


def test_one_principal(parts: Parts, door: Door) -> None:
    """One principal is shown with its revocation state, activity, live tokens and events."""
    token = parts.token()
    parts.admit(token)
    jti = claims_of(token)["jti"]
    assert one_of(door, SUB).json["live_tokens"] == [
        {"jti": jti, "grant": "app", "key": "openai", "at": NOW, "expires": NOW + 900}
    ]
    made = parts.revoke("principal", SUB, until=NOW + 60)
    answer = one_of(door, SUB)
    assert answer.status == 200, answer
    found = answer.json
    use = {"grant": "app", "key": "openai", "tokens": 1, "calls": 1}
    use |= {"refused_tokens": {}, "refused_calls": {}, "last_seen": NOW}
    assert (found["principal"], found["name"], found["issuer"]) == (SUB, "octo-org/app", CI)
    assert found["standing"] == {"epoch": 1, "blocked": True, "blocks": [{"revocation": made, "until": NOW + 60}]}
    assert found["today"] == {"start": TODAY, "end": TODAY + DAY, "grants": [use]}
    assert found["hour"] == {"start": NOW, "end": NOW + 3600, "grants": [use]}
    assert (found["live_tokens"], found["ended_tokens"], found["complete"]) == ([], 1, True)
    assert found["admitting"] == {"version": 1, "grants": [{"grant": "app", "key": "openai"}]}
    assert [one["kind"] for one in found["events"]] == ["token.issued"]


def test_newest_events(parts: Parts, door: Door) -> None:
    """The 20 newest events of a principal are shown."""
    for number in range(21):
        parts.exchange(request_id=f"r-{number}")
    assert [one["request_id"] for one in one_of(door, SUB).json["events"]] == [f"r-{n}" for n in range(20, 0, -1)]


@pytest.mark.parametrize("seen_by", ["revocation", "event", "usage"])
def test_known_principal(parts: Parts, door: Door, seen_by: str) -> None:
    """A principal with a revocation, an event or a use is found."""
    if seen_by == "revocation":
        parts.restore(parts.revoke("principal", SUB))
    elif seen_by == "event":
        parts.exchange(mint(now=NOW - 30 * DAY), NOW - 30 * DAY)
    else:
        used(parts, {SUB: ["app"]})
    assert one_of(door, SUB).status == 200


@pytest.mark.parametrize(
    "sub",
    ["nobody", f"{CI}|repository_id:12345", "*", "\x00", "a/b", "../..", "x" * 1025, "é" * 600, "\ud800", "%2F", " "],
)
def test_unknown_principal(parts: Parts, door: Door, sub: str) -> None:
    """A principal that was never seen is a 404."""
    parts.token()
    answer = one_of(door, sub)
    assert (answer.status, answer.json["title"]) == (404, "not_found")
    assert answer.json["detail"] == "no principal with this id is known"


@pytest.mark.parametrize("sub", ["a\x00b", "a/b%2Fc", "ü|sub:ß", "a\nb", "a" * 1024])
def test_any_principal_id(parts: Parts, door: Door, sub: str) -> None:
    """A principal with any id can be looked up by it."""
    used(parts, {sub: ["app"]})
    assert one_of(door, sub).json["principal"] == sub
    assert [one["principal"] for one in walk(door, 1)] == [sub]


def test_percent_encoded_sub(running: Running) -> None:
    """Over HTTP, a `sub` is percent-encoded whole."""
    assert running.complete(running.token("8201")).status == 200
    answer = running.administer("GET", f"{PRINCIPALS}/{quote(running.sub('8201'), safe='')}")
    assert (answer.status, answer.json["principal"]) == (200, running.sub("8201"))
    assert answer.json["hour"]["grants"][0]["calls"] == 1
    for path in ("%00", "a%2Fb", "%FF", "x" * 2000):
        assert running.administer("GET", f"{PRINCIPALS}/{path}").status == 404


# bound to an id


def pin(door: Door, body: object, **query: str) -> Answer:
    resource, parameters = f"{PRINCIPALS}/{{principal_id}}/pin", {"principal_id": quote(ROLE, safe="")}
    return door.administer("POST", f"{PRINCIPALS}/x/pin", body, resource=resource, parameters=parameters, query=query)


def test_pin_dry_run(parts: Parts, door: Door) -> None:
    """A dry run of a pin pins nothing."""
    body = {"unique_id": "AROAEXAMPLE123456789"}
    rehearsed = pin(door, body, dry_run="true")
    assert (rehearsed.status, rehearsed.json) == (200, {"dry_run": True, "principal": ROLE, **body})
    assert parts.events(kind="principal.pinned") == ()
    assert pin(door, body).json == {"principal": ROLE, **body}
    (event,) = parts.events(kind="principal.pinned")
    assert (event.actor, event.principal) == (ADA, ROLE)


@pytest.mark.parametrize("body", [{}, [], {"unique_id": "AIDAEXAMPLE123456789"}, {"unique_id": 5}, {"unique": "AROA"}])
@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_malformed_pin(parts: Parts, door: Door, body: object, dry_run: str) -> None:
    """A malformed pin is a 400, as a dry run and otherwise."""
    answer = pin(door, body, dry_run=dry_run)
    assert (answer.status, answer.json["title"]) == (400, "invalid_request")
    assert answer.json["detail"].startswith("the body must have one member, unique_id: the role's")
    assert parts.events(kind="principal.pinned") == ()


def test_newest_name() -> None:
    """A principal's name is the newest that is known."""
    uses = (
        Use("p", "a", name="old", last_seen=60),
        Use("p", "b", name="new", last_seen=120),
        Use("p", "c", last_seen=180),
    )
    assert activity.display_name(uses) == "new"
    assert activity.display_name(()) == ""
