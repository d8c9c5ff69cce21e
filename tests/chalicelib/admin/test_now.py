"""What is going on, in one answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.admin import now, totals
from chalicelib.admin.revocation_probe import RevocationProbe
from chalicelib.admin.totals import Totals
from chalicelib.errors import Refusal
from chalicelib.usage import UsageQuery
from local.revocation_probe import ProbeFile
from local.sqlite.response_times import SqliteResponseTimes
from local.sqlite.usage import SqliteUsage
from tests.contracts.samples import one_answer
from tests.http_door import Door
from tests.parts import NOW, SUB, Parts, mint


def test_everything_in_one_answer(parts: Parts, door: Door) -> None:
    """Sums by key and grant, the busiest with their share, what is frozen, and how long a revocation takes."""
    token = parts.token()
    other = parts.token(repository_id="9")
    for one in (token, token, token, other):
        parts.admit(one)
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(repository_id="5", ref="x"))
    parts.revoke("key", "anthropic")
    parts.revoke("principal", "https://ci.example|repository_id:77", until=NOW + 60)
    probe = RevocationProbe("here", NOW, "held", 0.004, 0)
    ProbeFile(parts.directory / "revocation-probe.json").keep(probe)
    found = door.administer("GET", "/admin/now").json
    app = {"calls": 4, "tokens": 2, "refused_calls": {}, "refused_tokens": {}, "principals": 2}
    assert found["hour"]["grants"]["app"] == found["day"]["grants"]["app"] == app
    total = {**app, "refused_tokens": {"no_grant": 1}, "principals": 3}
    assert (found["hour"]["total"], found["day"]["keys"]) == (total, {"openai": total})
    busiest = found["busiest"][0]
    assert (busiest["principal"], busiest["calls"], busiest["share"]) == (SUB, 3, 0.75)
    assert found["revoked"]["in_force"] == {"key": 1, "principal": 1}
    assert [(one["scope"], one["target"]) for one in found["revoked"]["frozen"]] == [("key", "anthropic")]
    assert found["revocation_probes"] == [probe.to_json()]
    assert found["hour"]["complete"]
    assert found["revoked"]["complete"]


def test_what_is_read_is_bounded(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more uses than are read, the sums say that they are in part."""
    for number in range(3):
        parts.admit(parts.token(repository_id=str(number)))
    monkeypatch.setattr(totals, "PAGE_LIMIT", 1)
    query = UsageQuery("hour", NOW, now=NOW)
    part, all_of_it = (Totals.read(SqliteUsage(parts.state), query, pages) for pages in (2, 3))
    assert [(one.complete, one.sums().calls) for one in (part, all_of_it)] == [(False, 2), (True, 3)]
    assert replace(part, complete=True).by("grant")["app"].calls == 2


def test_nothing_is_going_on(door: Door) -> None:
    """Without a call there are zeros, and no share of nothing."""
    found = door.administer("GET", "/admin/now").json
    assert (found["hour"]["total"]["calls"], found["busiest"], found["revocation_probes"]) == (0, [], [])


def test_how_long_answers_took(parts: Parts, door: Door) -> None:
    """Windows with answers are there with how long they took to begin, and nothing is said of what nobody saw."""
    assert door.administer("GET", "/admin/now").json["responses"] == {"minutes": [], "hours": []}
    SqliteResponseTimes(parts.state).add(one_answer(NOW, 0.3, failed=True))
    found = door.administer("GET", "/admin/now").json["responses"]
    assert [{**one, "start": 0} for one in (*found["minutes"], *found["hours"])] == [
        {"start": 0, "calls": 1, "failed": 1, "p50_seconds": 0.275, "p95_seconds": 0.3425}
    ] * 2


def test_principals_hide_no_freeze(parts: Parts, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many principals were revoked later, what is revoked for everybody is named, and the widest first."""
    parts.revoke("everything", "*")
    parts.revoke("key", "anthropic")
    for number in range(3):
        parts.revoke("principal", f"https://ci.example|repository_id:{number}", until=NOW + 60)
    monkeypatch.setattr(now, "PAGE_LIMIT", 2)
    monkeypatch.setattr(now, "REVOCATION_PAGES", 1)
    found = door.administer("GET", "/admin/now").json["revoked"]
    assert [one["scope"] for one in found["frozen"]] == ["everything", "key"]
    assert (found["in_force"]["everything"], found["complete"]) == (1, False)
