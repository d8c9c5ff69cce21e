"""Sums of one window after the other: by which window."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.admin.totals import MOST_POINTS, points
from chalicelib.quota import WINDOWS
from keybroker.cli import usage_series
from keybroker.cli.usage_series import shortest_window
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running


@pytest.mark.parametrize(
    ("reach", "window"),
    [
        (0, "minute"),
        (59 * 60, "minute"),
        (59 * 60 + 1, "hour"),
        (3600, "hour"),
        (71 * 3600, "hour"),
        (71 * 3600 + 1, "day"),
        (34 * 86400, "day"),
        (34 * 86400 + 1, None),
    ],
)
def test_the_shortest_window_that_reaches(reach: int, window: str | None) -> None:
    """A series is by the shortest window of which it has few enough."""
    assert shortest_window(reach) == window


@given(until=st.integers(1_795_500_000, 1_895_500_000), reach=st.integers(0, 34 * 86400))
def test_the_broker_answers_it(until: int, reach: int) -> None:
    """Whenever a series begins, the broker answers as many windows as the chosen one takes."""
    window = shortest_window(reach)
    assert window is not None
    found = points(window, until - reach, until)
    assert found[0] <= until - reach
    assert found[-1] <= until < found[-1] + WINDOWS[window]


def test_windows_are_as_long_as_the_broker_s() -> None:
    """Windows have the same names and lengths here as at the broker."""
    assert usage_series.SECONDS == WINDOWS


@given(
    until=st.integers(1_795_500_000, 1_895_500_000),
    reach=st.integers(0, 400 * 86400),
    window=st.sampled_from(list(WINDOWS)),
)
def test_what_is_too_far_back_is_left_out(until: int, reach: int, window: str) -> None:
    """However far back a series is to begin, the broker answers the part of it that is asked for."""
    since = max(until - reach, usage_series.earliest(window, until))
    found = points(window, since, until)
    assert found[-1] <= until < found[-1] + WINDOWS[window]
    assert since == until - reach or len(found) == MOST_POINTS[window]


@pytest.mark.parametrize("since", ["35d", "400d", "34d"])
def test_as_far_as_there_is(running: Running, since: str) -> None:
    """Days that are not kept are left out, and it is said from when on there are any."""
    running.token("4401")
    done = run("usage", "--since", since, environ=administrator(running))
    assert (done.code, done.out.startswith("DAY")) == (0, True), done
    assert ("a series has 35 days at most" in done.err) == (since != "34d")


def test_a_window_that_reaches_less_far(running: Running) -> None:
    """A window that is named is kept, and shows as much as it can."""
    running.token("4402")
    done = run("usage", "--since", "6h", "--window", "minute", "--output", "json", environ=administrator(running))
    assert (done.code, "a series has 60 minutes at most" in done.err) == (0, True), done
    assert len(json.loads(done.out)["items"]) == 60


@pytest.mark.parametrize("option", [("--name", "zzz"), ("--reason", "no_grant"), ("--sort", "calls"), ("--top", "3")])
def test_what_chooses_callers_is_refused(running: Running, option: tuple[str, str]) -> None:
    """Everybody's sums are never shown for those of some: what chooses among callers is refused, and what can be named said."""
    done = run("usage", "--since", "1h", *option, environ=administrator(running))
    assert (done.code, done.out) == (1, "")
    assert "are of one window's callers" in done.err
    assert "--principal, --grant and --key choose what is summed" in done.err


def test_one_principal_is_summed(running: Running) -> None:
    """With --principal, which takes a name, too, what that one did is summed up."""
    running.exchange(running.mint("4403", repository="octo-org/series-only"))
    options = ("usage", "--since", "1h", "--principal", "octo-org/series-only", "--output", "json")
    done = run(*options, environ=administrator(running))
    assert (done.code, sum(one["tokens"] for one in json.loads(done.out)["items"])) == (0, 1), done
