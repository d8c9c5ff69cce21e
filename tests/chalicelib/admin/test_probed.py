"""What a probe does to measure is left out of what people look at, unless they ask for it; nothing else is, and nothing is lost."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.admin.revocation_probe import NAME
from chalicelib.errors import Refusal
from chalicelib.quota import counters
from chalicelib.revocation import Revocation
from local.revocation_probe import Edge, Steps, token_of
from tests.http_door import Door
from tests.parts import BROKER, NOW, SUB, Parts

PROBE = f"{BROKER}|{NAME}"


@pytest.fixture
def probed(parts: Parts) -> Parts:
    """A caller's call, and what a probe does: calls that are refused, and a revocation."""
    parts.admit(parts.token())
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        steps = Steps(Edge(listening, is_tls=False), parts.control, parts.signer, BROKER, NOW)
    token = token_of(parts.signer, parts.control, BROKER, "jti", NOW)
    for _ in range(3):
        with pytest.raises(Refusal, match="grant_gone"):
            parts.admit(token, "/v1", key=NAME, method="GET")
    steps.revoke()
    return parts


def asked(door: Door, path: str, **query: str) -> Any:  # noqa: ANN401  any JSON
    answer = door.administer("GET", path, query=query)
    assert answer.status == 200, answer
    return answer.json


def who(found: Mapping[str, Any]) -> set[str]:
    return {one["principal"] for one in found["items"]}


def test_the_probe_is_not_what_is_going_on(probed: Parts, door: Door) -> None:
    """Neither sums nor lists of usage and principals have the probe's refusals in them."""
    assert probed.counted()["hour"] == (1, 3)
    now = asked(door, "/admin/now")
    for window in ("hour", "day"):
        total = now[window]["total"]
        assert (total["calls"], total["refused_calls"], total["principals"]) == (1, {}, 1)
        assert now[window]["grants"].keys() == {"app"}
    for query in ({}, {"top": "5", "by": "refused"}, {"top": "5"}):
        assert PROBE not in who(asked(door, "/admin/usage", **query))
    assert asked(door, "/admin/usage", series="day")["items"][-1]["refused_calls"] == {}
    assert who(asked(door, "/admin/principals")) == {SUB}


def test_the_probe_is_shown_to_who_asks(probed: Parts, door: Door) -> None:
    """By its principal or its grant its usage is there, and so is the principal itself."""
    for query in ({"principal": PROBE}, {"grant": NAME}):
        [use] = asked(door, "/admin/usage", **query)["items"]
        assert (use["principal"], use["refused_calls"]) == (PROBE, {"grant_gone": 3})
    path, named = "/admin/principals/{principal_id}", {"principal_id": quote(PROBE, safe="")}
    assert door.administer("GET", path, resource=path, parameters=named).json["principal"] == PROBE
    assert probed.events(principal=PROBE)


def test_what_the_probe_s_grant_admits_is_shown(probed: Parts, door: Door) -> None:
    """A call that was admitted under a grant of that name is hidden from nobody."""
    probed.edge_state.count(counters("calls", NAME, SUB, NOW))
    assert asked(door, "/admin/now")["hour"]["grants"][NAME]["calls"] == 1
    assert NAME in {one["grant"] for one in asked(door, "/admin/usage")["items"]}


def test_the_audit_has_all_unless_told_otherwise(probed: Parts, door: Door) -> None:
    """Whoever exports has every event; `probes=false` leaves out those of the probe."""
    whole = asked(door, "/admin/audit")["items"]
    assert [one["id"] for one in whole] == [one.id for one in probed.events()]
    assert [one["actor"] for one in whole].count(NAME) == 1
    assert asked(door, "/admin/audit", probes="true")["items"] == whole
    assert asked(door, "/admin/audit", probes="false")["items"] == [one for one in whole if one["actor"] != NAME]


def test_nobody_else_is_left_out_of_the_audit(probed: Parts, door: Door) -> None:
    """An administrator of the probe's name hides no revocation, and no other kind of event."""
    made = Revocation("r", "key", "openai", "a test", NAME, NOW)
    probed.control.revoke(made, replace(probed.event("revocation.made"), actor=NAME, principal=SUB))
    probed.ledger.record(replace(probed.event("key.set"), actor=NAME, principal=PROBE))
    shown = asked(door, "/admin/audit", probes="false")["items"]
    assert [one["kind"] for one in shown if one["actor"] == NAME] == ["key.set", "revocation.made"]


def test_pages_without_probes_lose_nothing(probed: Parts, door: Door) -> None:
    """Page by page, however small, every other event comes once, and a page is filled up beyond some of the probe's."""
    for _ in range(2):
        for _ in range(3):
            probed.control.revoke(
                Revocation(probed.new_id(), "principal", PROBE, "measures", NAME, NOW, NOW + 2),
                replace(probed.event("revocation.made"), actor=NAME, principal=PROBE),
            )
        probed.token()
    wanted = asked(door, "/admin/audit", probes="false", limit="200")["items"]
    found: list[object] = []
    after: str | None = ""
    pages = 0
    while after is not None:
        more = {"after": after} if after else {}
        page = asked(door, "/admin/audit", probes="false", limit="2", **more)
        found, after, pages = found + page["items"], page["next"], pages + 1
        assert len(page["items"]) <= 2
    assert found == wanted
    assert pages <= len(wanted) / 2 + 2
