from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from chalicelib.audit import PAGE_LIMIT, Event
from chalicelib.errors import Refusal
from tests.http_door import Door
from tests.parts import NOW, SUB, Parts, mint
from tests.running import Answer, Running

AUDIT = "/admin/audit"
LINES = "application/jsonl"


def ask(door: Door, accept: str, **query: str) -> Answer:
    return door.administer("GET", AUDIT, headers={"accept": accept}, query=query)


# one per line


@pytest.mark.parametrize(
    "accept",
    [
        LINES,
        "application/x-ndjson",
        "Application/JSONL; charset=utf-8",
        "text/html, application/jsonl;q=0.5",
        "application/json,application/x-ndjson",
    ],
)
def test_json_lines(parts: Parts, door: Door, accept: str) -> None:
    """A client that accepts JSON lines gets the page's events, one per line."""
    for number in range(3):
        parts.exchange(request_id=f"r-{number}")
    answer = ask(door, accept, kind="token.issued")
    assert (answer.status, answer.headers["content-type"], "link" in answer.headers) == (200, LINES, False)
    assert answer.body.endswith(b"}\n")
    events = [Event.from_json(json.loads(line)) for line in answer.body.decode().splitlines()]
    assert tuple(events) == parts.events(kind="token.issued")
    assert (answer.headers["x-request-id"], answer.headers["cache-control"]) == ("request-1", "no-store")


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "application/jsonlx", "text/plain"])
def test_json_by_default(parts: Parts, door: Door, accept: str) -> None:
    """Any other client gets one JSON object."""
    parts.token()
    answer = ask(door, accept)
    assert "content-type" not in answer.headers  # API Gateway's own, then: application/json
    assert answer.json.keys() == {"items", "next"}


def test_next_link(parts: Parts, door: Door) -> None:
    """The next page is a Link that repeats the query."""
    for number in range(5):
        parts.exchange(request_id=f"r-{number}")
    query, seen = {"principal": SUB, "kind": "token.issued", "limit": "2"}, []
    for size in (2, 2, 1):
        answer = ask(door, LINES, **query)
        lines = answer.body.decode().splitlines()
        assert len(lines) == size
        seen += [json.loads(line)["request_id"] for line in lines]
        if size == 2:
            (target,) = re.fullmatch(r'<\?(\S+)>; rel="next"', answer.headers["link"]).groups()  # type: ignore[union-attr]  # it has to match
            followed = dict(pair.split("=") for pair in target.split("&"))
            assert target == urlencode({**query, "after": followed["after"]})
            query["after"] = followed["after"]
    assert "link" not in answer.headers
    assert seen == ["r-4", "r-3", "r-2", "r-1", "r-0"]


def test_link_is_escaped(parts: Parts, door: Door) -> None:
    """Query values cannot break out of the Link header."""
    odd = 'a>; rel="evil", <https://evil.example/\r\nx-evil: 1&limit=9'
    parts.ledger.record(parts.event())
    parts.ledger.record(parts.event())
    with parts.state.writing() as connection:
        connection.execute("UPDATE audit SET principal = ?", (odd,))
    link = ask(door, LINES, principal=odd, limit="1").headers["link"]
    assert re.fullmatch(r'<\?[A-Za-z0-9%&=._~-]+>; rel="next"', link)


def test_no_lines(door: Door) -> None:
    """No events are an empty body."""
    answer = ask(door, LINES, principal="nobody")
    assert (answer.status, answer.body) == (200, b"")


def test_refusal_is_a_problem(door: Door) -> None:
    """A refusal is a problem document whatever the client accepts."""
    answer = ask(door, LINES, limit="0")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


def test_next_link_over_http(running: Running) -> None:
    """Over HTTP, the Link leads to the next page."""
    for _ in range(3):
        running.token("8401")
    query = "?" + urlencode({"principal": running.sub("8401"), "limit": "2"})
    first = running.administer("GET", AUDIT + query, headers={"accept": LINES})
    assert (first.status, first.headers["content-type"]) == (200, LINES)
    target = first.headers["link"].partition("<")[2].partition(">")[0]
    second = running.administer("GET", AUDIT + target, headers={"accept": LINES})
    ids = [json.loads(line)["id"] for page in (first, second) for line in page.body.decode().splitlines()]
    assert len(ids) == len(set(ids)) == 3


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"since": "x"}, "since must be a whole number from 0 to 99999999999"),
        ({"limit": "201"}, "limit must be a whole number from 1 to 200"),
        ({"after": "garbage"}, "after must be the `next` of the previous page"),
        (
            {"reason": "x"},
            "unknown or repeated query parameters: this route takes request_id, principal, grant, key, kind, since, until, limit, after, format, claims, probes, each once",
        ),
    ],
)
def test_bad_parameter(door: Door, query: dict[str, str], detail: str) -> None:
    """An invalid parameter is a 400 that says what is allowed."""
    answer = ask(door, "", **query)
    assert (answer.status, answer.json["title"], answer.json["detail"]) == (400, "invalid_request", detail)


def test_until_0(parts: Parts, door: Door) -> None:
    """`until=0` is a time, and matches nothing."""
    parts.token()
    assert ask(door, "", until="0").json["items"] == []


@pytest.mark.parametrize(("query", "has"), [({}, True), ({"claims": "false"}, False), ({"claims": "true"}, True)])
def test_claims_on_request(parts: Parts, door: Door, query: dict[str, str], has: bool) -> None:  # noqa: FBT001  a row
    """Events have the callers' claims, and OCSF has them only when asked."""
    parts.token()
    (event,) = ask(door, "", kind="token.issued", **query).json["items"]
    assert bool(event["claims"]) == has
    (written,) = ask(door, "", kind="token.issued", format="ocsf", **query).json["items"]
    assert (written["metadata"]["uid"], "claims" in written["unmapped"]) == (event["id"], query.get("claims") == "true")
    line = ask(door, LINES, kind="token.issued", format="ocsf", **query).body
    assert json.loads(line) == written


# complete


def check(door: Door, **query: Any) -> Answer:  # noqa: ANN401  text, or a list of it
    return door.administer("GET", f"{AUDIT}/check", query=query)


def test_audit_check(parts: Parts, door: Door) -> None:
    """A window's events are compared with its counters."""
    parts.token()
    answer = check(door, window="hour", start=str(NOW))
    assert (answer.status, answer.json) == (
        200,
        {
            "window": "hour",
            "start": NOW,
            "end": NOW + 3600,
            "complete": True,
            "issued_events": 1,
            "counted": 1,
            "agree": True,
            "differing": [],
        },
    )
    with parts.state.writing() as connection:
        connection.execute("DELETE FROM audit WHERE kind = 'token.issued'")
    found = check(door, window="hour", start=str(NOW)).json
    assert (found["agree"], found["differing"]) == (
        False,
        [{"principal": SUB, "grant": "app", "events": 0, "counted": 1}],
    )


def test_audit_check_default(door: Door) -> None:
    """Without parameters, yesterday is checked."""
    found = check(door).json
    assert (found["window"], found["end"]) == ("day", NOW - NOW % 86400)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"window": "minute"}, "window must be one of hour, day"),
        ({"start": "-1"}, "start must be a whole number from 0 to 99999999999"),
        ({"start": "0"}, "start must not be in the future, or in a window that ended 3 days ago or earlier, whose counters may be gone"),
        ({"start": str(NOW + 86400)}, "start must not be in the future, or in a window that ended 3 days ago or earlier, whose counters may be gone"),
        ({"at": "1"}, "unknown or repeated query parameters: this route takes window, start, each once"),
    ],
)  # fmt: skip
def test_audit_check_bad_query(door: Door, query: dict[str, str], detail: str) -> None:
    """A window that cannot be checked is a 400 that says why."""
    answer = check(door, **query)
    assert (answer.status, answer.json["title"], answer.json["detail"]) == (400, "invalid_request", detail)


# chain


def test_audit_chain(parts: Parts, door: Door) -> None:
    """A part of the chain says what is not as it was written; a head is the newest link, or that of a number."""
    parts.token()
    found = door.administer("GET", f"{AUDIT}/chain").json
    newest = door.administer("GET", f"{AUDIT}/head").json
    assert (found["items"], found["next"], found["events"]) == ([], None, newest["seq"])
    assert door.administer("GET", f"{AUDIT}/head", query={"seq": str(newest["seq"])}).json == newest
    with parts.state.writing() as connection:
        connection.execute("UPDATE audit SET principal = 'x' WHERE kind = 'token.issued'")
    (fault,) = door.administer("GET", f"{AUDIT}/chain").json["items"]
    assert (fault["what"], fault["at"]) == ("changed", NOW)


@pytest.mark.parametrize(
    ("route", "query"), [("chain", {"after": "x"}), ("chain", {"seq": "1"}), ("head", {"seq": "-1"}), ("head", {"after": "1"})]
)  # fmt: skip
def test_audit_chain_bad_query(door: Door, route: str, query: dict[str, str]) -> None:
    """Anything else in the query is a 400."""
    answer = door.administer("GET", f"{AUDIT}/{route}", query=query)
    assert (answer.status, answer.json["title"]) == (400, "invalid_request")


# filters and pages


def test_audit_filters(parts: Parts, door: Door) -> None:
    """Each filter of the audit selects exactly the events with that value."""
    parts.exchange(request_id="r-1")
    parts.exchange(mint(NOW + 50, repository_id="5"), NOW + 50, request_id="r-2")
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(ref="x"), request_id="r-3")

    def found(**query: str) -> list[str]:
        items = door.administer("GET", AUDIT, query=query).json["items"]
        return [one["request_id"] for one in items if one["kind"].startswith("token.")]

    assert found(request_id="r-2") == ["r-2"]
    assert found(principal=SUB) == ["r-3", "r-1"]
    assert found(grant="app") == ["r-2", "r-1"]
    assert found(key="openai") == ["r-3", "r-2", "r-1"]
    assert found(kind="token.issued", principal=SUB) == ["r-1"]
    assert found(since=str(NOW + 50)) == ["r-2"]
    assert found(until=str(NOW + 50)) == ["r-3", "r-1"]
    assert found(principal="nobody") == []


def test_audit_pages(parts: Parts, door: Door) -> None:
    """The audit's pages list every event once, newest first."""
    for number in range(5):
        parts.exchange(request_id=f"r-{number}")
    seen: list[str] = []
    after: dict[str, str] = {}
    for size in (2, 2, 1):
        page = door.administer("GET", AUDIT, query={"kind": "token.issued", "limit": "2", **after}).json
        assert page.keys() == {"items", "next"}
        assert len(page["items"]) == size
        seen += [one["request_id"] for one in page["items"]]
        after = {"after": page["next"]}
    assert seen == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    assert page["next"] is None


def test_page_size(parts: Parts, door: Door) -> None:
    """A page has at most `limit` items, and 50 by default."""
    for number in range(PAGE_LIMIT + 1):
        parts.ledger.record(replace(parts.event(), id=str(number)))
    sizes = [len(door.administer("GET", AUDIT, query={"limit": one}).json["items"]) for one in ("1", str(PAGE_LIMIT))]
    assert sizes == [1, PAGE_LIMIT]
    assert len(door.administer("GET", AUDIT).json["items"]) == 50


@pytest.mark.parametrize(
    "query",
    [
        {"reason": "x"},
        {"Principal": "x"},
        {"since": "yesterday"},
        {"until": "-1"},
        {"limit": "1.5"},
        {"limit": ""},
        {"limit": "0"},
        {"limit": str(PAGE_LIMIT + 1)},
        {"limit": "9" * 5000},
        {"since": "1" * 12},
        {"since": chr(0x661)},
        {"after": "garbage"},
        {"after": "-1"},
        {"after": "9" * 30},
        {"after": "1 OR 1"},
    ],
)
def test_audit_bad_query(door: Door, query: dict[str, str]) -> None:
    """An invalid filter or cursor is a 400."""
    answer = door.administer("GET", AUDIT, query=query)
    assert (answer.status, answer.json["title"]) == (400, "invalid_request")
