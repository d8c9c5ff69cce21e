"""A refused call is found by the id that its caller was shown, whichever worker refused it, and is no answer of a provider's."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import pytest

from tests.running import Answer, Running, call, start, wait_until

pytestmark = pytest.mark.slow  # a server is started


def asked(running: Running, request_id: str) -> Mapping[str, Any]:
    """What the administrators' door says of a request."""
    found: Mapping[str, Any] = running.administer("GET", f"/admin/refusals?request_id={request_id}").json
    return found


def kept(running: Running, refused: Answer) -> Mapping[str, Any]:
    """The refused call of an answer, once it is kept."""
    request_id = refused.headers["x-request-id"]
    wait_until(lambda: asked(running, request_id)["items"])
    (one,) = asked(running, request_id)["items"]
    assert (one["request_id"], one["status"]) == (request_id, refused.status)
    found: Mapping[str, Any] = one
    return found


def test_refusals_of_two_workers_are_found() -> None:
    """With two workers, each refusal at the edge is found, with the names that were verified, and nothing of its token."""
    with start("--workers", "2") as running:
        token = running.token("7731")
        url = f"{running.edge}/openai/v1/models"
        bare = [kept(running, call("GET", url, headers={})) for _ in range(6)]
        assert {(one["reason"], one["principal"]) for one in bare} == {("token_missing", "")}
        done = running.administer("POST", "/admin/revocations", {"scope": "key", "id": "openai", "reason": "drill"})
        assert done.status == 201
        revoked = kept(running, call("GET", url, headers={"authorization": f"Bearer {token}"}))
        assert (revoked["reason"], revoked["key"]) == ("revoked_key", "openai")
        assert revoked["principal"].endswith("|repository_id:7731")
        assert token not in str(revoked)
        assert kept(running, call("GET", url, {"a": 1}))["reason"] == "body_not_allowed"
        assert asked(running, secrets.token_hex(16)) == {"items": [], "next": None, "edge_log": None}


def answers(running: Running) -> int:
    """How many answers there were in the last hours, as the administrators' door says."""
    hours = running.administer("GET", "/admin/now").json["responses"]["hours"]
    return sum(one["calls"] for one in hours)


def test_refusals_are_among_no_answers() -> None:
    """Whatever the edge refused is not among the answers whose times are told; what the provider answered is."""
    with start() as running:
        token, edge = running.token(), running.edge
        bearer = {"authorization": f"Bearer {token}"}
        told = [
            call("GET", f"{edge}/openai/v1/models", headers={}),
            call("GET", f"{edge}/openai/v1/models", headers={"authorization": f"Bearer {token}x"}),
            call("POST", f"{edge}/openai/v1/files", {}, bearer),
            call("GET", f"{edge}/openai/v1/models", {"a": 1}, bearer),
            call("GET", f"{edge}/openai/v1/%2e%2e/models", headers=bearer),
            call("GET", f"{edge}/nothing", headers=bearer),
        ]
        assert [one.status for one in told] == [401, 401, 403, 403, 400, 404]
        assert running.complete(token).status == 200
        wait_until(lambda: answers(running))
        assert answers(running) == 1
