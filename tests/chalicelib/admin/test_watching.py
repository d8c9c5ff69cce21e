"""What is measured of some minutes of calls, and who is named."""

from __future__ import annotations

import json

from chalicelib.admin.watching import LEAST_REFUSED, NAMED, SERIES, Metrics, Seen, measured, told

AGES = {"openai": 10, "anthropic": 200, "new": None}
DAYS = dict.fromkeys(AGES, 90)


def together(*seen: Seen, unread: int = 0, key_days: int = 90) -> dict[str, float]:
    first, *_ = measured(seen, AGES, dict.fromkeys(AGES, key_days), unread=unread)
    assert first.dimensions == {}
    return dict(first.values)


def test_calls_and_refusals_by_key_and_reason() -> None:
    """Numbers are by key and by key and reason, and all together; every key of the policy has its own, without calls too."""
    seen = [
        Seen("ada", "ci", "openai", 6, {"quota_calls": 2}),
        Seen("bob", "ci", "openai", 3, {"quota_calls": 1, "out_of_scope": 4}),
    ]
    found = measured(seen, AGES, DAYS, unread=0)
    assert found[1:] == [
        Metrics({"key": "openai"}, {"Calls": 9, "Refusals": 7, "KeyAgeDays": 10}),
        Metrics({"key": "anthropic"}, {"Calls": 0, "Refusals": 0, "KeyAgeDays": 200}),
        Metrics({"key": "new"}, {"Calls": 0, "Refusals": 0}),
        Metrics({"key": "openai", "reason": "out_of_scope"}, {"Refusals": 4}),
        Metrics({"key": "openai", "reason": "quota_calls"}, {"Refusals": 3}),
    ]
    all_of_them = together(*seen)
    assert (all_of_them["Calls"], all_of_them["Refusals"], all_of_them["Principals"]) == (9, 7, 2)
    assert (all_of_them["TopShare"], all_of_them["Heartbeat"], all_of_them["KeysPastDate"]) == (66.7, 1, 1)


def test_callers_make_no_metric() -> None:
    """A key that the policy does not name has no metric of its own, and pairs of key and reason are bounded."""
    seen = [Seen(f"p{n}", "ci", f"made-up-{n}", 1, {f"fault_{n}": 1}) for n in range(SERIES + 50)]
    found = measured(seen, AGES, DAYS, unread=0)
    assert {one.dimensions["key"] for one in found if "key" in one.dimensions} == {*AGES, "none"}
    assert sum("reason" in one.dimensions for one in found) == SERIES


def test_a_share_of_a_few_refusals_is_none() -> None:
    """A share is measured once there are enough refusals to have one."""
    assert together(Seen("ada", "ci", "openai", 1, {"out_of_scope": LEAST_REFUSED - 1}))["RefusedShare"] == 0
    assert together(Seen("ada", "ci", "openai", 20, {"out_of_scope": LEAST_REFUSED}))["RefusedShare"] == 50


def test_principals_are_counted_once() -> None:
    """A principal under two grants is one."""
    two = [Seen("ada", grant, "openai", 1, {"quota_calls": 20}, first=True) for grant in ("ci", "docs")]
    found = together(*two)
    names = ("Principals", "PrincipalsOverQuota", "PrincipalsRefused", "FirstUses")
    assert [found[name] for name in names] == [1, 1, 1, 1]


def test_each_key_has_its_own_date() -> None:
    """A key is past the date that is its own."""
    first, *_ = measured([], AGES, {"openai": 9, "anthropic": 200, "new": 1}, unread=0)
    assert first.values["KeysPastDate"] == 1


def test_no_date_no_key_past_it() -> None:
    assert together(key_days=0)["KeysPastDate"] == 0
    assert together(key_days=200)["KeysPastDate"] == 0
    assert together(key_days=199)["KeysPastDate"] == 1


def test_the_few_are_named_and_no_more() -> None:
    """A line names ten for each reason at most, with ids cut to 200 characters; nothing is said of nobody."""
    seen = [Seen(f"{n:03d}" + "\n" * 10_000, "ci", "openai", n, {"revoked_principal": 1}) for n in range(1000)]
    line = json.dumps(told(seen))
    assert len(line) < 20_000
    assert "\n" not in line
    found = told(seen)
    assert [one["principal"][:3] for one in found["busiest"][:2]] == ["999", "998"]
    assert {name: len(few) for name, few in found.items()} == {"busiest": NAMED, "after_revocation": NAMED}
    assert told([]) == {}
