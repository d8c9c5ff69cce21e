"""One token for all: who fetches, who waits, and when it is replaced."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybroker import Refused, Unreachable
from keybroker.clock import Timestamp
from keybroker.errors import KeybrokerError
from keybroker.refresh import Due
from keybroker.shared_token import FORCED_APART, SharedToken
from tests.keybroker.numbered_source import PATIENCE, Source, together
from tests.running import wait_until


def test_fifty_threads_fetch_once(source: Source) -> None:
    """Fifty threads fetch once and get the same token."""
    source.release.clear()
    threading.Timer(0.2, source.release.set).start()
    assert together(50, source.get) == ["token-1"] * 50
    assert source.fetched == 1


def test_fifty_threads_get_their_own_error(source: Source) -> None:
    """Fifty threads each get an error of their own from one fetch."""
    source.release.clear()
    source.fault = Refused("invalid_target", "no grant", 400, "r-1", None)
    threading.Timer(0.5, source.release.set).start()
    errors = together(50, source.get)
    assert {str(one) for one in errors} == {"invalid_target: no grant (request r-1)"}
    assert len({id(one) for one in errors}) == 50
    assert source.fetched < 50  # a thread that comes after the refusal sends a request of its own


def test_fifty_threads_replace_a_token_once(source: Source) -> None:
    """Fifty threads replace a rejected token once."""
    old = source.get()
    assert together(50, lambda: source.get(old)) == ["token-2"] * 50
    assert source.fetched == 2


# When it is replaced


def test_a_young_token_is_served(source: Source) -> None:
    """A young token is served without a request."""
    source.get()
    source.now += 500
    assert source.get() == "token-1"
    assert source.fetched == 1


def test_an_older_token_is_refreshed_ahead(source: Source) -> None:
    """An older token is served while the next one is fetched."""
    source.get()
    source.now += 700
    source.release.clear()
    assert together(20, source.get) == ["token-1"] * 20
    source.release.set()
    wait_until(source.quiet, PATIENCE)
    assert source.get() == "token-2"
    assert source.fetched == 2


def test_a_token_near_its_end_is_waited_for(source: Source) -> None:
    """In a token's last seconds callers wait for the next one."""
    source.get()
    source.now += 890
    assert source.get() == "token-2"


def test_an_expired_token_is_never_served(source: Source) -> None:
    """An expired token is never served."""
    source.get()
    source.now += 900
    source.fault = Unreachable("no broker")
    with pytest.raises(Unreachable):
        source.get()


def test_age_counts_from_the_request(source: Source) -> None:
    """A token ages from the start of its request."""
    source.release.clear()
    thread = threading.Thread(target=source.get)
    thread.start()
    wait_until(lambda: source.fetched == 1, PATIENCE)
    source.now += 60
    source.release.set()
    thread.join(PATIENCE)
    held = source.shared.get()
    assert held.age(Timestamp(source.now, source.now)) == 60


def test_sleep_counts_as_age() -> None:
    """After the machine slept its token is replaced, though the monotonic clock stood still."""
    source = Source()
    wall = [1000.0]
    source.shared = SharedToken(source.fetch, lambda: Timestamp(source.now, wall[0]))
    source.get()
    wall[0] += 3600
    assert source.get() == "token-2"


def test_a_replaced_token_costs_no_fetch(source: Source) -> None:
    """A rejected token that was replaced meanwhile costs no fetch."""
    first = source.get()
    assert source.get(first) == "token-2"
    assert source.get(first) == "token-2"
    assert source.fetched == 2


def test_repeated_rejections_do_not_repeat_fetches(source: Source) -> None:
    """A token that is rejected again and again is not fetched again and again."""
    text = source.get()
    for _ in range(20):
        text = source.get(text)
    assert source.fetched == 2
    source.now += FORCED_APART
    source.get(text)
    assert source.fetched == 3


def test_no_replacement_is_an_error(source: Source) -> None:
    """Without a replacement for a rejected token there is an error."""
    text = source.get()
    source.fault = Refused("invalid_grant", "access is revoked (principal)", 400, "", None)
    with pytest.raises(Refused, match="access is revoked"):
        source.get(text)


def test_a_discarded_token_is_not_served(source: Source) -> None:
    """A discarded token is not served again."""
    source.get()
    held = source.shared.discard()
    assert held is not None
    assert held.token.access_token == "token-1"
    assert source.shared.discard() is None
    assert source.get() == "token-2"


FAULTS: list[KeybrokerError | None] = [
    None,
    Unreachable("no broker"),
    Refused("invalid_target", "no grant", 400, "", None),
    Refused("quota_exceeded", "", 429, "", 30),
]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3, 20, 100, 300, 900])),
        st.tuples(st.just("broker"), st.sampled_from(FAULTS)),
        st.tuples(st.just("get"), st.none()),
        st.tuples(st.just("rejected"), st.none()),
    ),
    max_size=30,
)


@given(events=steps)
def test_the_rules_hold_in_any_order(
    events: list[tuple[str, Any]],
) -> None:
    """In any order of events a valid token is served, an expired one never, and a call costs one fetch at most."""
    source = Source()
    for event, value in events:
        before, held = source.fetched, source.shared._held
        now = Timestamp(source.now, source.now)
        valid = held is not None and held.due(now) is not Due.DEAD
        if event == "wait":
            source.now += value
        elif event == "broker":
            source.fault = value
        else:
            rejected = held.token.access_token if held is not None and event == "rejected" else None
            try:
                found = source.shared.get(rejected)
            except KeybrokerError:
                assert source.fault is not None or source.fetched == before  # the second: it still rests
                assert not valid or rejected is not None
            else:
                assert found.due(now) is not Due.DEAD
        wait_until(source.quiet, PATIENCE)
        assert source.fetched - before <= 1
