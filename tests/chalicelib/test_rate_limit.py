"""RateLimit and RateLimit-Policy: as text, and as callers get them at both doors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

import edge
from chalicelib import rate_limit
from chalicelib.errors import Refusal
from chalicelib.exchange.request import JWT_BEARER
from chalicelib.quota import WINDOWS, Allowance, Limit, allowances
from tests.edge_function import event
from tests.http_door import public_door
from tests.parts import NOW, SUB, Parts, grant, mint, parts_in

LIMITS = st.builds(Limit, st.integers(1, 10**9), st.sampled_from(sorted(WINDOWS)))
POLICY = '"hour";q=3;w=3600, "day";q=50;w=86400'
CALLS = '"minute";q=2;w=60, "day";q=10;w=86400'


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(quota="{tokens: [3/hour, 50/day], calls: [2/minute, 10/day]}"))
        yield made


def of_token(parts: Parts, now: int = NOW, **more: Any) -> str:  # noqa: ANN401  TokenRequest's fields
    """What an exchange says is left."""
    return rate_limit.headers(parts.exchange(mint(now=now), now, **more).allowances)["ratelimit"]


def refused(act: Callable[[], object]) -> Mapping[str, str]:
    """The headers of a refusal."""
    with pytest.raises(Refusal) as caught:
        act()
    return caught.value.headers


# as text


def test_each_limit_has_an_item_in_both_headers() -> None:
    told = rate_limit.headers(
        (Allowance(Limit(10, "minute"), 4, 30), Allowance(Limit(1000, "day"), 0, 7200, shared=True))
    )
    assert told == {
        "ratelimit-policy": '"minute";q=10;w=60, "total-day";q=1000;w=86400',
        "ratelimit": '"minute";r=4;t=30, "total-day";r=0;t=7200',
    }


def test_without_a_limit_to_tell_of_there_are_no_headers() -> None:
    assert rate_limit.headers(()) == {}


@given(LIMITS, st.integers(0, 2 * 10**9), st.integers(0, 2**40))
def test_what_is_left_is_never_below_none_nor_above_the_limit(limit: Limit, taken: int, now: int) -> None:
    [one] = allowances([limit], {limit.window: taken}, now)
    assert one.left == max(0, limit.count - taken)
    assert 0 < one.resets <= WINDOWS[limit.window]
    assert (now + one.resets) % WINDOWS[limit.window] == 0


@given(LIMITS, st.integers(0, 2**40))
def test_of_a_window_that_nobody_counted_nothing_is_left(limit: Limit, now: int) -> None:
    assert allowances([limit], {}, now)[0].left == 0


# at the token endpoint


@pytest.mark.parametrize("named", [None, "app"])
def test_a_token_says_what_is_left_after_it(parts: Parts, named: str | None) -> None:
    told = [of_token(parts, grant=named) for _ in range(3)]
    assert told == [f'"hour";r={left};t=3600, "day";r={left + 47};t=57600' for left in (2, 1, 0)]


def test_a_retry_takes_nothing_and_says_what_is_left_all_the_same(parts: Parts) -> None:
    subject, key = mint(), "k" * 32
    first, again = (parts.exchange(subject, idempotency_key=key).allowances for _ in range(2))
    assert first == again


def test_a_refusal_for_quota_says_that_none_is_left_until_retry_after(parts: Parts) -> None:
    for _ in range(3):
        parts.exchange()
    with pytest.raises(Refusal) as caught:
        parts.exchange(mint(now=NOW + 600), NOW + 600)
    assert caught.value.retry_after == 3000
    assert caught.value.headers["ratelimit"] == '"hour";r=0;t=3000, "day";r=47;t=57000'


@pytest.mark.parametrize("scope", ["grant", "principal", "everything"])
def test_a_refusal_of_a_known_grant_takes_nothing_and_says_what_is_left(parts: Parts, scope: str) -> None:
    parts.exchange()
    parts.revoke(scope, {"grant": "app", "principal": SUB, "everything": "*"}[scope])
    told = [refused(parts.exchange)["ratelimit"] for _ in range(2)]
    assert told == ['"hour";r=2;t=3600, "day";r=49;t=57600'] * 2


def test_before_a_grant_is_chosen_there_is_nothing_to_tell(parts: Parts) -> None:
    assert refused(lambda: parts.exchange(mint(repository_owner_id="1"))) == {}
    assert refused(lambda: parts.exchange("not a token")) == {}


def test_the_token_endpoint_sends_both_headers_with_a_token_and_with_a_refusal(parts: Parts) -> None:
    door = public_door(parts)
    answers = [
        door.ask("POST", "/token", {"grant_type": JWT_BEARER, "assertion": mint(), "audience": "openai"})
        for _ in range(4)
    ]
    assert [one.status for one in answers] == [200, 200, 200, 429]
    assert {one.headers["ratelimit-policy"] for one in answers} == {POLICY}
    assert answers[3].headers["ratelimit"] == '"hour";r=0;t=3600, "day";r=47;t=57600'
    assert answers[3].headers["retry-after"] == "3600"


# at the edge


def test_a_call_over_quota_says_which_window_is_used_up_and_until_when(parts: Parts) -> None:
    token = parts.token()
    parts.admit(token)
    parts.admit(token)
    told = refused(lambda: parts.admit(token, now=NOW + 20))
    assert told == {"ratelimit-policy": CALLS, "ratelimit": '"minute";r=0;t=40, "day";r=8;t=57580'}


def test_a_refused_call_takes_nothing_of_what_is_left(parts: Parts) -> None:
    token = parts.token()
    parts.admit(token)
    parts.revoke("principal", SUB)
    told = [refused(lambda: parts.admit(token))["ratelimit"] for _ in range(3)]
    assert told == ['"minute";r=1;t=60, "day";r=9;t=57600'] * 3


def test_a_total_is_told_beside_the_caller_s_own(parts: Parts) -> None:
    parts.apply(grant(quota="{tokens: 100/hour, calls: 5/minute}", total="{calls: 3/day}"))
    ada, bob = parts.token(), parts.token(repository_id="99")
    for token in (ada, bob, ada):
        parts.admit(token)
    told = refused(lambda: parts.admit(bob))
    assert told["ratelimit"] == '"minute";r=4;t=60, "total-day";r=0;t=57600'


@pytest.mark.parametrize("dropped", ["token", "grant"])
def test_without_a_token_or_a_grant_there_is_nothing_to_tell(parts: Parts, dropped: str) -> None:
    token = parts.token()
    parts.apply(grant().replace("  app:", "  other:"))
    assert refused(lambda: parts.admit("" if dropped == "token" else token)) == {}


def test_the_edge_sends_both_headers_with_its_refusal(parts: Parts) -> None:
    handle, token = edge.make_handler(lambda: parts.edge_ports([])), parts.token()
    answers = [handle(event(("Authorization", f"Bearer {token}")), None) for _ in range(3)]
    assert "status" not in answers[1]
    sent = {name: one[0]["value"] for name, one in answers[2]["headers"].items()}
    assert (answers[2]["status"], sent["ratelimit-policy"]) == ("429", CALLS)
    assert sent["ratelimit"] == '"minute";r=0;t=60, "day";r=8;t=57600'
    assert sent["retry-after"] == "60"
