"""Which policy was in force when, and who could use a key then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http_door import Door, admin_door, problem
from tests.parts import NOW, Parts, grant, mint

POLICY = "/admin/policy"
HOUR = 3600
TIGHT, WIDE = (
    grant(to=f"{{issuer: ci, claims: {{repository_owner_id: {owners}}}}}") for owners in ('"9919"', '["9919", "1"]')
)


@pytest.fixture(name="changed")
def fixture_changed(parts: Parts) -> Door:
    """An hour apart from each other: the tests' own policy, a wide one, and a tight one."""
    for number, text in enumerate((WIDE, TIGHT), 1):
        headers = {"if-match": f'"{number}"'}
        at = NOW + number * HOUR
        answer = admin_door(parts, clock=lambda at=at: at).administer("PUT", POLICY, {"text": text}, headers=headers)
        assert answer.status == 200, answer
    return admin_door(parts, clock=lambda: NOW + 3 * HOUR)


def get(door: Door, path: str, **query: object) -> dict[str, Any]:
    answer = door.administer("GET", path, query={name: str(value) for name, value in query.items()})
    assert answer.status == 200, answer
    return dict(answer.json)


def owners(door: Door, **query: object) -> list[str]:
    (found,) = get(door, f"{POLICY}/grants", key="openai", **query)["items"]
    return [value for one in found["claims"] if one["claim"] == ["repository_owner_id"] for value in one["accepted"]]


def test_every_version_is_listed(changed: Door) -> None:
    """The versions are listed newest first, page by page."""
    found = get(changed, f"{POLICY}/history", limit=2)
    assert [(one["version"], one["at"]) for one in found["items"]] == [(3, NOW + 2 * HOUR), (2, NOW + HOUR)]
    rest = get(changed, f"{POLICY}/history", limit=2, after=found["next"])
    assert ([one["version"] for one in rest["items"]], rest["next"]) == ([1], None)


def test_who_could_use_a_key_then(changed: Door) -> None:
    """One request says whom the policy of a time admitted to a key."""
    assert owners(changed) == ["9919"]
    assert owners(changed, at=NOW + HOUR) == owners(changed, at=NOW + 2 * HOUR - 1) == ["9919", "1"]
    assert get(changed, f"{POLICY}/grants", at=NOW + HOUR)["version"] == 2
    assert get(changed, f"{POLICY}/grants", key="anthropic")["items"] == []


def test_the_text_of_then(changed: Door) -> None:
    """The text of a version, or of a time, is answered as it was sent."""
    assert get(changed, POLICY, version=2)["text"] == get(changed, POLICY, at=NOW + HOUR)["text"] == WIDE
    assert get(changed, POLICY)["version"] == 3


def test_a_decision_of_then(changed: Door) -> None:
    """Claims are explained by the policy that was in force at a time."""
    sent = {"token": mint(repository_id="1", repository_owner_id="1")}
    now, then = (
        changed.administer("POST", f"{POLICY}/explain", sent, query=query).json for query in ({}, {"version": "2"})
    )
    assert [(one["version"], one["admitted"]) for one in (now, then)] == [(3, []), (2, ["app"])]


@pytest.mark.parametrize("query", [{"at": NOW - 1}, {"version": 4}])
@pytest.mark.parametrize("path", [POLICY, f"{POLICY}/grants"])
def test_no_version_is_made_up(changed: Door, path: str, query: dict[str, int]) -> None:
    """A version that is not kept, and a time before the first one, are not found."""
    answer = problem(changed.administer("GET", path, query={name: str(value) for name, value in query.items()}))
    assert answer[:2] == (404, "not_found")


def test_a_version_without_a_time_is_not_guessed(parts: Parts, changed: Door) -> None:
    """Where it was not recorded since when a version was in force, no time finds it or one before it."""
    with parts.state.writing() as connection:
        connection.execute("UPDATE policies SET at = 0, author = '' WHERE version = 2")
    assert problem(changed.administer("GET", POLICY, query={"at": str(NOW + HOUR)}))[0] == 404
    assert get(changed, POLICY, at=NOW + 2 * HOUR)["version"] == 3
    assert get(changed, POLICY, version=2)["text"] == WIDE


def test_two_names_are_one_too_many(changed: Door) -> None:
    """A version and a time are not sent together."""
    assert problem(changed.administer("GET", POLICY, query={"at": "1", "version": "1"}))[0] == 400


def test_a_grant_s_limits(parts: Parts) -> None:
    """A grant's limits are told with it: those of each principal, and those of all callers together as shared."""
    quota, total = "{tokens: 100/hour, calls: 100/minute, usage: 500 tokens/day}", "{calls: 9/day}"
    parts.apply(grant(quota=quota, total=total))
    (found,) = get(admin_door(parts), f"{POLICY}/grants", grant="app")["items"]
    assert [tuple(one.values()) for one in found["limits"]] == [
        ("calls", "minute", 100, False),
        ("tokens", "hour", 100, False),
        ("calls", "day", 9, True),
        ("usage", "day", 500, False),
    ]
