from __future__ import annotations

from typing import Any

import pytest

from chalicelib.errors import Refusal
from tests.http_door import Door
from tests.parts import CI, NOW, SUB, Parts, mint

USAGE = "/admin/usage"
DAY = 86400
OTHER = f"{CI}|repository_id:5"


def usage(door: Door, **query: str) -> dict[str, Any]:
    answer = door.administer("GET", USAGE, query=query)
    assert answer.status == 200, answer
    return dict(answer.json)


def who(door: Door, **query: str) -> list[str]:
    return [one["principal"] for one in usage(door, **query)["items"]]


def test_usage(parts: Parts, door: Door) -> None:
    """Usage lists what each principal did under each grant, and what was refused."""
    token = parts.token()
    parts.admit(token)
    parts.admit(token)
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(repository_id="5", ref="x"))
    start = NOW - NOW % DAY
    assert usage(door, window="day") == {
        "window": "day",
        "start": start,
        "end": start + DAY,
        "items": [
            {
                "principal": SUB,
                "grant": "app",
                "key": "openai",
                "name": "octo-org/app",
                "tokens": 1,
                "calls": 2,
                "refused_tokens": {},
                "refused_calls": {},
                "last_seen": NOW,
                "models": [],
                "budgets": {},
            },
            {
                "principal": OTHER,
                "grant": "",
                "key": "openai",
                "name": "octo-org/app",
                "tokens": 0,
                "calls": 0,
                "refused_tokens": {"no_grant": 1},
                "refused_calls": {},
                "last_seen": NOW,
                "models": [],
                "budgets": {},
            },
        ],
        "next": None,
    }


@pytest.mark.parametrize(("window", "length"), [("minute", 60), ("hour", 3600), ("day", DAY)])
def test_usage_window(parts: Parts, door: Door, window: str, length: int) -> None:
    """Any time in a window selects it; without one, it is the present window."""
    at = NOW - 2 * length
    parts.exchange(mint(now=at, repository_id="5"), at)
    parts.token()
    assert who(door, window=window) == [SUB]
    for time in (at - at % length, at - at % length + length - 1):
        found = usage(door, window=window, at=str(time))
        assert [one["principal"] for one in found["items"]] == [OTHER]
        assert (found["start"], found["end"]) == (at - at % length, at - at % length + length)
    assert who(door, window=window, at="0") == []


def test_default_is_day(parts: Parts, door: Door) -> None:
    """Without a window, it is the day."""
    parts.token()
    assert (usage(door)["window"], who(door)) == ("day", [SUB])


def test_usage_filters(parts: Parts, door: Door) -> None:
    """Usage is filtered by principal, grant and key."""
    parts.token()
    parts.token(repository_id="5")
    assert who(door, principal=SUB) == [SUB]
    assert who(door, grant="app", principal=OTHER) == [OTHER]
    assert who(door, grant="pods") == []
    assert sorted(who(door, key="openai")) == sorted([SUB, OTHER])
    assert who(door, key="anthropic") == []
    assert who(door, principal="*") == []


def test_usage_pages(parts: Parts, door: Door) -> None:
    """Pages list every use once."""
    for number in range(5):
        parts.token(repository_id=str(number))
    seen: list[str] = []
    query = {"limit": "2"}
    for size in (2, 2, 1):
        page = usage(door, **query)
        assert len(page["items"]) == size
        seen += [one["principal"] for one in page["items"]]
        query["after"] = page["next"]
    assert page["next"] is None
    assert seen == [f"{CI}|repository_id:{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"window": "week"}, "window must be one of minute, hour, day"),
        ({"at": "-1"}, "at must be a whole number from 0 to 99999999999"),
        ({"at": "1e9"}, "at must be a whole number from 0 to 99999999999"),
        ({"at": "1" * 12}, "at must be a whole number from 0 to 99999999999"),
        ({"limit": "1000000"}, "limit must be a whole number from 1 to 200"),
        ({"after": "garbage"}, "after must be the `next` of the previous page"),
        ({"principal": "x" * 1025}, "principal must be text of at most 1024 characters"),
        (
            {"user": "x"},
            "unknown or repeated query parameters: this route takes series, window, at, limit, after, top, by, principal, grant, key, since, until, each once",
        ),
    ],
)
def test_usage_bad_parameter(door: Door, query: dict[str, str], detail: str) -> None:
    """An invalid parameter is a 400 that says what is allowed."""
    answer = door.administer("GET", USAGE, query=query)
    assert (answer.status, answer.json["title"], answer.json["detail"]) == (400, "invalid_request", detail)


def test_the_busiest_come_first(parts: Parts, door: Door) -> None:
    """With `top` the principals with the most of something come first, and none that has nothing of it."""
    for number, calls in (("7", 1), ("8", 3), ("9", 2)):
        token = parts.token(repository_id=number)
        for _ in range(calls):
            parts.admit(token)
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(repository_id="5", ref="x"))
    names = [one.rpartition(":")[2] for one in who(door, top="2")]
    assert names == ["8", "9"]
    found = usage(door, top="5", by="refused", window="hour")
    assert [(one["principal"], one["refused_tokens"]) for one in found["items"]] == [(OTHER, {"no_grant": 1})]
    assert (found["by"], found["complete"], found["next"]) == ("refused", True, None)


def test_a_series_has_every_window(parts: Parts, door: Door) -> None:
    """A series has the sums of each window, with zeros where nothing was done, the newest last."""
    token = parts.token()
    parts.admit(token)
    parts.admit(token)
    parts.revoke("principal", SUB)
    with pytest.raises(Refusal, match="revoked_principal"):
        parts.admit(token)
    found = usage(door, series="hour", since=str(NOW - 7200))
    calls = [(one["start"], one["calls"], one["refused_calls"], one["principals"]) for one in found["items"]]
    assert calls == [(NOW - 7200, 0, {}, 0), (NOW - 3600, 0, {}, 0), (NOW, 2, {"revoked_principal": 1}, 1)]
    assert (found["series"], found["complete"]) == ("hour", True)
    assert [len(usage(door, series=one)["items"]) for one in ("minute", "hour", "day")] == [60, 72, 35]
    assert [one["calls"] for one in usage(door, series="day", principal=OTHER, since=str(NOW))["items"]] == [0]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"series": "week"}, "series must be one of minute, hour, day"),
        ({"series": "minute", "since": "0"}, "a series by minute has 1 to 60 of them"),
        ({"series": "day", "since": str(NOW), "until": str(NOW - 5 * DAY)}, "a series by day has 1 to 35"),
        ({"series": "hour", "window": "hour"}, "window is of one window"),
        ({"series": "hour", "top": "5"}, "top is of one window"),
        ({"since": "1"}, "since needs series"),
        ({"by": "calls"}, "by needs top"),
        ({"top": "0"}, "top must be a whole number from 1 to"),
        ({"top": "5", "limit": "5"}, "limit is of pages"),
        ({"top": "5", "by": "name"}, "by must be one of calls, refused, tokens"),
    ],
)
def test_what_does_not_go_together(door: Door, query: dict[str, str], told: str) -> None:
    """Parameters that do not go together, and a series that is too long, are refused by name."""
    answer = door.administer("GET", USAGE, query=query)
    assert (answer.status, told in answer.json["detail"]) == (400, True), answer
