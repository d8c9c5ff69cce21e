"""The list of signing keys: which are accepted, which one signs, and in which steps that may change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.policy import stored
from chalicelib.tokens.key_list import MOST_TAINTED, PREPARED_SECONDS, RETIRED_SECONDS, SigningKeyList
from chalicelib.tokens.verify import TTL_CEILING

NOW = 1_800_000_000
ONE = SigningKeyList(("a",))
TWO = ONE.prepare("b", NOW)
LATER = NOW + PREPARED_SECONDS
SWITCHED = TWO.activate("b", LATER)


def refused(keys: SigningKeyList, action: str, kid: str, now: int = NOW) -> str:
    with pytest.raises(Refusal) as caught:
        getattr(keys, action)(kid, now)
    return caught.value.reason


def test_a_rotation_step_by_step() -> None:
    """A key is prepared, activated once every edge knows it, and the one before it retired once its last token is over."""
    assert (TWO.live, TWO.status("a"), TWO.status("b")) == (("a", "b"), "live", "live")
    assert refused(TWO, "activate", "b", LATER - 1) == "signing_key_too_new"
    assert (SWITCHED.signs, SWITCHED.status("a"), SWITCHED.stopped) == ("b", "live", {"a": LATER})
    assert RETIRED_SECONDS > TTL_CEILING
    assert refused(SWITCHED, "retire", "a", LATER + RETIRED_SECONDS - 1) == "signing_key_in_use"
    assert SWITCHED.retire("a", LATER + RETIRED_SECONDS) == SigningKeyList(("b",), "b", {"b": NOW})


def test_a_step_twice_changes_nothing() -> None:
    """What is so already stays as it is."""
    tainted = SWITCHED.taint("a", LATER)
    assert TWO.prepare("b", LATER) is TWO
    assert SWITCHED.activate("b", LATER + 1) is SWITCHED
    assert tainted.taint("a", LATER + 1) is tainted


def test_a_tainted_key_never_comes_back() -> None:
    """A tainted key is accepted no more, and can neither be prepared nor sign again; the other one signs."""
    tainted = TWO.taint("a", NOW)  # which of the two signed is not known
    assert (tainted.live, tainted.signs, tainted.status("a")) == (("b",), "b", "tainted")
    assert {action: refused(tainted, action, "a") for action in ("prepare", "activate", "retire")} == dict.fromkeys(
        ("prepare", "activate", "retire"), "signing_key_tainted"
    )


def test_one_key_has_to_be_left() -> None:
    """The last live key is neither tainted nor retired, since without one no token can be issued."""
    assert refused(ONE, "taint", "a") == "no_other_signing_key"
    assert refused(ONE, "retire", "a") == "signing_key_in_use"
    assert refused(SWITCHED, "retire", "b", NOW * 2) == "signing_key_in_use"


@pytest.mark.parametrize("action", ["activate", "taint", "retire"])
def test_an_unlisted_key_is_refused(action: str) -> None:
    """Nothing but a preparation is done with a key that is not live."""
    assert refused(TWO, action, "c") == "no_such_signing_key"


def test_who_may_have_signed_is_waited_for() -> None:
    """Where it is not known which key signed, each of them may have, and is retired an hour later."""
    keys = SigningKeyList(("a", "b", "c")).activate("c", NOW)
    assert keys.stopped == {"a": NOW, "b": NOW}
    assert refused(keys, "retire", "b", NOW + 1) == "signing_key_in_use"


def test_a_key_that_never_signed_can_go() -> None:
    """A key that was prepared only is retired at once."""
    assert SWITCHED.prepare("c", LATER).retire("c", LATER) == SWITCHED


def test_tainted_keys_are_bounded() -> None:
    """The newest tainted keys are remembered, so many that each call can read them."""
    keys = SigningKeyList(("0",))
    for number in range(MOST_TAINTED + 2):
        keys = keys.prepare(str(number + 1), NOW + number).taint(str(number), NOW + number)
    assert list(keys.tainted) == [str(number) for number in range(2, MOST_TAINTED + 2)]


def test_a_list_of_before_is_read() -> None:
    """The text of a list of live keys alone, as it was stored before, is read; the edge reads the new one."""
    assert SigningKeyList.from_text('{"signing": ["a", "b"]}') == SigningKeyList(("a", "b"))
    assert stored.read_signing_keys(SWITCHED.to_text()) == ("a", "b")
    assert (stored.read_signs(SWITCHED.to_text()), stored.read_signs(ONE.to_text())) == ("b", "")


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["prepare", "activate", "taint", "retire"]), st.sampled_from("abcd"), st.integers(0, 4000)
    ),
    max_size=25,
)


@given(_STEPS)
def test_whatever_the_steps(steps: list[tuple[str, str, int]]) -> None:
    """After any steps a live key signs, no tainted one is live, and none left the list while a token of it may be alive."""
    keys, now, left = ONE, NOW, dict[str, int]()
    for action, kid, seconds in steps:
        now += seconds
        try:
            changed: SigningKeyList = getattr(keys, action)(kid, now)
        except Refusal:
            continue
        if action == "retire":
            left[kid] = now - keys.stopped.get(kid, 0)
        keys = changed
        assert keys.live
        assert not keys.signs or keys.signs in keys.live
        assert keys.tainted.keys().isdisjoint(keys.live)
        assert SigningKeyList.from_text(keys.to_text()) == keys
    assert all(seconds >= RETIRED_SECONDS for seconds in left.values())


def test_a_deployment_s_list_keeps_the_rest() -> None:
    """A list that a deployment puts in force has exactly these keys, and forgets no other one's taint."""
    tainted = SWITCHED.taint("a", NOW)
    assert tainted.listing(("b", "c")) == tainted._replace(live=("b", "c"))
    assert tainted.listing(("c",)) == SigningKeyList(("c",), tainted={"a": NOW})
