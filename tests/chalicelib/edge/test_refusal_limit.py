from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.edge import refusal_limit
from chalicelib.edge.admission import Edge, admit
from chalicelib.edge.call import Call
from chalicelib.errors import Refusal
from local.sqlite.edge_state import SqliteEdgeState
from tests.edge_function import chat_body
from tests.parts import NOW, Parts, claims_of, grant, mint
from tests.refused import refused

pytestmark = pytest.mark.inside  # the limit is made smaller

CHAT = "/v1/chat/completions"
LIMITED = grant(quota="{tokens: 100/hour, calls: [100/minute]}", models="[gpt-5-mini]")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three refusals are the most here."""
    monkeypatch.setattr(refusal_limit, "MOST", 3)


class Counted(SqliteEdgeState):
    """A state that counts how often it is asked."""

    asked = 0

    def read_and_count(self, *given, **named):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN003, ANN201  as it is
        self.asked += 1
        return super().read_and_count(*given, **named)


def edge_of(parts: Parts) -> Edge:
    return replace(parts.edge_parts(), state=Counted(parts.state))


def attempt(edge: Edge, token: str, model: str = "gpt-5", now: int = NOW) -> Refusal:
    call = Call(token, "openai", "POST", CHAT, body=chat_body(model))
    return refused(lambda: admit(call, edge, now))


def test_refusals_have_a_limit(parts: Parts) -> None:
    """Past it a call is a 429 until the minute ends, without any state, whatever it is."""
    parts.apply(LIMITED)
    token, edge = parts.token(), edge_of(parts)
    assert [attempt(edge, token).reason for _ in range(3)] == ["model_not_allowed"] * 3
    stopped = attempt(edge, token, "gpt-5-mini")
    assert (stopped.reason, stopped.error, stopped.status) == ("refused_too_often", "quota_exceeded", 429)
    assert stopped.retry_after == 60 - NOW % 60
    assert stopped.description == "3 calls of yours were refused this minute; it ends in 1 min"
    assert edge.state.asked == 3  # type: ignore[attr-defined]
    assert set(parts.counted().values()) == {(0, 3)}
    assert attempt(edge, token, now=NOW + 60).reason == "model_not_allowed"


def test_calls_beyond_the_scope_have_a_limit(parts: Parts) -> None:
    """They count among a principal's refusals, and past the limit cost the state nothing any more."""
    parts.apply(LIMITED)
    token, edge = parts.exchange(scope=frozenset({"GET:/v1/models"})).access_token, edge_of(parts)
    assert [attempt(edge, token).reason for _ in range(5)] == ["out_of_scope"] * 3 + ["refused_too_often"] * 2
    assert set(parts.counted().values()) == {(0, 3)}
    assert edge.state.asked == 0, "nothing is read for them"  # type: ignore[attr-defined]


def test_processes_share_the_count(parts: Parts) -> None:
    """Each process stops a principal that all of them refused too often, once it has refused a call itself."""
    parts.apply(LIMITED)
    token, one, another = parts.token(), edge_of(parts), edge_of(parts)
    assert [attempt(one, token).reason for _ in range(3)] == ["model_not_allowed"] * 3
    assert [attempt(another, token).reason for _ in range(2)] == ["model_not_allowed", "refused_too_often"]


def test_refusals_stop_nobody_else(parts: Parts) -> None:
    """Another principal's calls go on, and a token that does not verify counts for nobody."""
    parts.apply(LIMITED)
    token, other, edge = parts.token(), parts.exchange(mint(repository_id="5")).access_token, edge_of(parts)
    forged = token[:-4] + "AAAA"
    assert [attempt(edge, forged).status for _ in range(5)] == [401] * 5
    assert [attempt(edge, token).reason for _ in range(4)][-2:] == ["model_not_allowed", "refused_too_often"]
    call = Call(other, "openai", "POST", CHAT, body=chat_body("gpt-5-mini"))
    assert admit(call, edge, NOW).key.version == parts.versions["openai"]


def test_refusals_stop_no_other_token(parts: Parts) -> None:
    """A revoked token that is tried without end stops itself; its principal's good one goes on."""
    parts.apply(LIMITED)
    revoked, good, edge = parts.token(), parts.token(), edge_of(parts)
    parts.revoke("token", str(claims_of(revoked)["jti"]))
    assert [attempt(edge, revoked).reason for _ in range(4)] == ["revoked_token"] * 3 + ["refused_too_often"]
    call = Call(good, "openai", "POST", CHAT, body=chat_body("gpt-5-mini"))
    assert admit(call, edge, NOW).key.version == parts.versions["openai"]
    assert attempt(edge, good).reason == "model_not_allowed"
    assert attempt(edge, good).reason == "refused_too_often"


def test_admitted_calls_do_not_count() -> None:
    """Nothing is noted below the limit."""
    limit = refusal_limit.RefusalLimit()
    limit.note(None, 2, NOW)  # type: ignore[arg-type]  # it does not look at the token
    assert limit._stopped == (0, set())
