from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from chalicelib.audit import Event
from tests.http_door import Door
from tests.parts import NOW, SUB, Parts
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
def test_whoever_accepts_json_lines_gets_the_page_s_events_one_per_line(parts: Parts, door: Door, accept: str) -> None:
    for number in range(3):
        parts.exchange(request_id=f"r-{number}")
    answer = ask(door, accept, kind="token.issued")
    assert (answer.status, answer.headers["content-type"], "link" in answer.headers) == (200, LINES, False)
    assert answer.body.endswith(b"}\n")
    events = [Event.from_json(json.loads(line)) for line in answer.body.decode().splitlines()]
    assert tuple(events) == parts.events(kind="token.issued")
    assert (answer.headers["x-request-id"], answer.headers["cache-control"]) == ("request-1", "no-store")


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "application/jsonlx", "text/plain"])
def test_whoever_does_not_gets_one_object(parts: Parts, door: Door, accept: str) -> None:
    parts.token()
    answer = ask(door, accept)
    assert "content-type" not in answer.headers  # API Gateway's own, then: application/json
    assert answer.json.keys() == {"items", "next"}


def test_the_next_page_is_a_link_that_asks_for_the_same(parts: Parts, door: Door) -> None:
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


def test_what_was_asked_cannot_break_out_of_the_link(parts: Parts, door: Door) -> None:
    odd = 'a>; rel="evil", <https://evil.example/\r\nx-evil: 1&limit=9'
    parts.ledger.record(parts.event())
    parts.ledger.record(parts.event())
    with parts.state.writing() as connection:
        connection.execute("UPDATE audit SET principal = ?", (odd,))
    link = ask(door, LINES, principal=odd, limit="1").headers["link"]
    assert re.fullmatch(r'<\?[A-Za-z0-9%&=._~-]+>; rel="next"', link)


def test_no_events_are_no_lines(door: Door) -> None:
    answer = ask(door, LINES, principal="nobody")
    assert (answer.status, answer.body) == (200, b"")


def test_a_refusal_is_a_problem_whatever_is_accepted(door: Door) -> None:
    answer = ask(door, LINES, limit="0")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


def test_over_http_the_link_leads_to_the_next_page(running: Running) -> None:
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
        ({"after": "garbage"}, "after must be the `next` of a page before"),
        (
            {"reason": "x"},
            "unknown or repeated query parameters: there are request_id, principal, grant, key, kind, since, until, limit, after, each once",
        ),
    ],
)
def test_a_parameter_that_is_none_is_said(door: Door, query: dict[str, str], detail: str) -> None:
    answer = ask(door, "", **query)
    assert (answer.status, answer.json["title"], answer.json["detail"]) == (400, "invalid_request", detail)


def test_until_0_is_a_time_too(parts: Parts, door: Door) -> None:
    parts.token()
    assert ask(door, "", until="0").json["items"] == []


# complete


def check(door: Door, **query: Any) -> Answer:  # noqa: ANN401  text, or a list of it
    return door.administer("GET", f"{AUDIT}/check", query=query)


def test_a_window_is_checked_against_the_counters(parts: Parts, door: Door) -> None:
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


def test_without_parameters_it_is_yesterday(door: Door) -> None:
    found = check(door).json
    assert (found["window"], found["end"]) == ("day", NOW - NOW % 86400)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"window": "minute"}, "window must be one of hour, day"),
        ({"start": "-1"}, "start must be a whole number from 0 to 99999999999"),
        ({"start": "0"}, "start must be neither ahead nor in a window that ended 3 days ago: counters are not kept"),
        ({"start": str(NOW + 86400)}, "start must be neither ahead nor in a window that ended 3 days ago: counters are not kept"),
        ({"at": "1"}, "unknown or repeated query parameters: there are window, start, each once"),
    ],
)  # fmt: skip
def test_a_window_that_cannot_be_checked_is_said(door: Door, query: dict[str, str], detail: str) -> None:
    answer = check(door, **query)
    assert (answer.status, answer.json["title"], answer.json["detail"]) == (400, "invalid_request", detail)
