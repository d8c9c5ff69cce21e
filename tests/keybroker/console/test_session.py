"""Who may use the page, and for how long."""

from __future__ import annotations

import pytest

from keybroker.console.session import ENTER_SECONDS, IDLE_SECONDS, LONGEST_SECONDS, Session


def entered(now: float = 0.0) -> Session:
    """A session that was opened."""
    made = Session(now)
    assert made.enter(made.secret, now)
    return made


def test_the_secret_works_once() -> None:
    """The right secret opens the page, once; no other does."""
    made = Session(0.0)
    for wrong in ("", "x", made.secret + "x", made.cookie, made.csrf):
        assert not made.enter(wrong, 1.0)
    assert made.enter(made.secret, 1.0)
    assert not made.enter(made.secret, 1.0)


def test_the_secret_is_old_after_a_minute() -> None:
    """An address that nobody opened within a minute opens nothing."""
    made = Session(0.0)
    assert not made.enter(made.secret, ENTER_SECONDS + 0.1)
    assert not made.admits(made.cookie, ENTER_SECONDS + 0.2, acts=True)


def test_without_the_cookie_nobody_is_let_in() -> None:
    """Before the page was opened, and without its cookie, nobody is let in."""
    made = Session(0.0)
    assert not made.admits(made.cookie, 1.0, acts=True)
    made.enter(made.secret, 1.0)
    assert made.admits(made.cookie, 2.0, acts=True)
    for wrong in ("", made.secret, made.csrf, made.cookie[:-1], "ü"):
        assert not made.admits(wrong, 2.0, acts=True)


@pytest.mark.parametrize("acts", [True, False])
def test_it_ends_when_idle(*, acts: bool) -> None:
    """Half an hour after someone last did something it ends; what a page asks for by itself is not someone."""
    made = entered()
    for minute in range(0, 29 * 60, 60):
        assert made.admits(made.cookie, float(minute), acts=acts)
    assert made.admits(made.cookie, IDLE_SECONDS + 1.0, acts=False) is acts
    assert made.ended(IDLE_SECONDS + 1.0) is not acts


def test_it_ends_after_half_a_day() -> None:
    """However much it is used, it ends after twelve hours."""
    made = entered()
    for minute in range(0, LONGEST_SECONDS, 600):
        assert made.admits(made.cookie, float(minute), acts=True)
    assert not made.admits(made.cookie, float(LONGEST_SECONDS), acts=True)


def test_secrets_are_apart_and_not_shown() -> None:
    """Secret, cookie and CSRF token differ, in each session, and are in no repr."""
    first, second = Session(0.0), Session(0.0)
    all_of_them = [first.secret, first.cookie, first.csrf, second.secret, second.cookie, second.csrf]
    assert len(set(all_of_them)) == 6
    assert all(len(one) >= 43 for one in all_of_them)
    assert not any(one in repr(first) + repr(second) for one in all_of_them)
