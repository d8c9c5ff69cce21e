"""A refused call is found by its request id, and the answer says where else it may be."""

from __future__ import annotations

import pytest

from chalicelib.edge.errors import InvalidToken
from chalicelib.edge.refused_calls import RefusedCall
from local.sqlite.refused_calls import SqliteRefusedCalls
from tests.http_door import Door, admin_door
from tests.parts import NOW, Parts

CALL = RefusedCall(NOW, "5f2a", "revoked_principal", 403, "openai", "ci", "sub", "jti-1")


def test_one_is_found(parts: Parts, door: Door) -> None:
    """The call of a request is answered with what its log line has."""
    SqliteRefusedCalls(parts.state).keep([CALL])
    found = door.administer("GET", "/admin/refusals", query={"request_id": "5f2a"}).json
    assert found == {"items": [CALL.to_json()], "next": None, "edge_log": None}


@pytest.mark.parametrize("unknown", ["5f2b", "\u20ac" * 1000])
def test_an_unknown_one(door: Door, unknown: str) -> None:
    """An id that is none, of whatever length, finds nothing, which is no error."""
    assert door.administer("GET", "/admin/refusals", query={"request_id": unknown}).json["items"] == []


def test_where_else_it_may_be(parts: Parts) -> None:
    """Where an edge's refusals are in its log alone, the log group is named."""
    door = admin_door(parts, edge_log="/aws/lambda/us-east-1.kb-edge")
    found = door.administer("GET", "/admin/refusals", query={"request_id": "x"}).json
    assert found["edge_log"] == "/aws/lambda/us-east-1.kb-edge"


@pytest.mark.parametrize("query", [{}, {"request_id": ""}, {"request_id": "a", "limit": "1"}])
def test_an_id_is_needed(door: Door, query: dict[str, str]) -> None:
    """Without an id, or with what the route does not know, the request is malformed: there is no list of refused calls."""
    assert door.administer("GET", "/admin/refusals", query=query).status == 400


def test_nothing_of_a_token_is_kept() -> None:
    """Whatever a refusal carries, only names, the reason and the status are kept."""
    refusal = InvalidToken("exp_past").with_context(
        description="canary-1", headers={"x": "canary-2"}, about={"key": "openai", "token": "canary-3"}
    )
    kept = RefusedCall.of("r", refusal, NOW)
    assert kept == RefusedCall(NOW, "r", "exp_past", 401, key="openai")
    assert "canary" not in str(kept.to_json())
