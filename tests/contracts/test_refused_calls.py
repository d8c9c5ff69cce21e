"""The rules of `chalicelib.edge.refused_calls.RefusedCalls`, whatever they are kept in."""

from __future__ import annotations

from chalicelib.edge.refused_calls import KEPT_SECONDS, RefusedCall
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SUB

CALL = RefusedCall(NOW, "5f2a", "revoked_principal", 403, "openai", "ci", SUB, "jti-1", under_way=True)
BARE = RefusedCall(NOW, "77aa", "token_missing", 401)


def test_a_call_is_found_by_its_id(adapters: Adapters) -> None:
    """What was kept comes back as it was, by its own id and no other."""
    adapters.refused_calls.keep([CALL, BARE])
    assert adapters.refused_calls.refused_call("5f2a", NOW) == CALL
    assert adapters.refused_calls.refused_call("77aa", NOW) == BARE
    assert adapters.refused_calls.refused_call("5f2", NOW) is None


def test_the_first_of_a_request_stays(adapters: Adapters) -> None:
    """What is said of a request later, or again after an answer that was lost, changes nothing."""
    adapters.refused_calls.keep([CALL])
    adapters.refused_calls.keep([CALL._replace(reason="cut", principal=""), BARE])
    assert adapters.refused_calls.refused_call("5f2a", NOW) == CALL
    assert adapters.refused_calls.refused_call("77aa", NOW) == BARE


def test_a_day_is_the_end(adapters: Adapters) -> None:
    """A call is found for a day, and not a second longer."""
    adapters.refused_calls.keep([CALL])
    assert adapters.refused_calls.refused_call("5f2a", NOW + KEPT_SECONDS - 1) == CALL
    assert adapters.refused_calls.refused_call("5f2a", NOW + KEPT_SECONDS) is None
