"""A shared token while the broker is unreachable, failing or refusing."""

from __future__ import annotations

import pytest

from keybroker import Refused, Unreachable
from keybroker.errors import KeybrokerError
from keybroker.shared_token import REST
from tests.keybroker.numbered_source import PATIENCE, Source
from tests.running import wait_until


def test_an_outage_is_bridged_without_a_storm(source: Source) -> None:
    """A valid token is served while the broker is away, without a request for each call."""
    source.get()
    source.fault = Unreachable("no broker")
    source.now += 700
    for _ in range(50):
        assert source.get() == "token-1"
    wait_until(source.quiet, PATIENCE)
    assert [source.get() for _ in range(50)] == ["token-1"] * 50
    assert source.fetched == 2
    source.now += REST[1]
    source.get()
    wait_until(source.quiet, PATIENCE)
    assert source.fetched == 3


def test_a_recovered_broker_is_noticed(source: Source) -> None:
    """A broker that recovers is noticed."""
    source.get()
    source.fault = Unreachable("no broker")
    source.now += 700
    source.get()
    wait_until(source.quiet, PATIENCE)
    source.fault = None
    source.now += REST[1]
    source.get()
    wait_until(source.quiet, PATIENCE)
    assert source.get() == "token-3"


def test_a_past_error_is_forgotten(source: Source) -> None:
    """An error that is over is forgotten."""
    source.get()
    source.now += 700
    source.fault = Unreachable("no broker")
    source.get()
    wait_until(source.quiet, PATIENCE)
    source.fault = None
    source.now += 300
    assert source.get() == "token-3"
    source.now += 885
    assert source.get() == "token-4"  # waited for again, as in quiet times


@pytest.mark.parametrize("fault", [Unreachable("no broker"), Refused("invalid_target", "no grant", 400, "", None)])
def test_a_token_near_its_end_bridges_an_outage(
    source: Source, fault: KeybrokerError, caplog: pytest.LogCaptureFixture
) -> None:
    """In its last seconds a valid token is served if there is no other."""
    source.get()
    source.fault = fault
    source.now += 885
    assert source.get() == "token-1"
    assert "still using the current one" in caplog.text
    assert "token-1" not in caplog.text
    source.now += REST[1]
    source.release.clear()
    assert source.get() == "token-1"  # the next attempt is under way in the background
    source.release.set()


def test_retry_after_is_obeyed(source: Source) -> None:
    """A refusal with a Retry-After is repeated until then without a request."""
    source.fault = Refused("quota_exceeded", "", 429, "r-1", 20)
    for _ in range(3):
        with pytest.raises(Refused, match="quota_exceeded"):
            source.get()
    assert source.fetched == 1
    source.now += 20
    source.fault = None
    assert source.get() == "token-2"


def test_a_short_retry_after_is_not_prolonged(source: Source) -> None:
    """A refusal with a short Retry-After is not repeated for longer."""
    source.fault = Refused("temporarily_unavailable", "too many calls at once", 429, "r-1", 1)
    with pytest.raises(Refused):
        source.get()
    source.now += 1
    source.fault = None
    assert source.get() == "token-2"


def test_retry_after_is_capped_at_a_minute(source: Source) -> None:
    """A refusal is never repeated for more than a minute."""
    source.fault = Refused("quota_exceeded", "", 429, "r-1", 86_400)
    with pytest.raises(Refused):
        source.get()
    source.now += 60
    source.fault = None
    assert source.get() == "token-2"


def test_other_refusals_do_not_block(source: Source) -> None:
    """Any other refusal does not keep the next call from a request."""
    source.fault = Refused("invalid_target", "no grant", 400, "", None)
    with pytest.raises(Refused):
        source.get()
    source.fault = None
    assert source.get() == "token-2"


def test_an_unexpected_error_reaches_the_callers(source: Source) -> None:
    """An unexpected error reaches the waiting callers, and the next call tries again."""
    source.fault = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        source.get()
    source.fault = None
    assert source.get() == "token-2"
