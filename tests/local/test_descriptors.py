"""Descriptors are shared out so that no door can take what the others need."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from local.descriptors import LEAST, WANTED, Share
from local.errors import TooFewDescriptors
from tests.running import ROOT


@pytest.mark.parametrize("limit", [LEAST, LEAST + 1, 700, 1_024, 4_096, WANTED, 1_048_576])
def test_doors_leave_enough_for_the_rest(limit: int) -> None:
    """Both doors fit in beside 140 descriptors for the rest, in whatever order they are taken."""
    share = Share.of(limit)
    newcomers = 4 * share.at_once  # not looked at yet, or closed and not let go of yet
    assert share.broker >= 30
    assert share.edge >= 30
    edge_last = 140 + newcomers + share.broker + 3 * share.edge
    assert edge_last <= share.provider_below
    assert share.provider_below + newcomers + share.broker + 140 <= limit


def test_shares_have_an_upper_bound() -> None:
    """However many descriptors there are, a worker holds no more connections than WANTED allows."""
    least, most = Share.of(WANTED), Share.of(1_048_576)
    assert (least.broker, least.edge) == (most.broker, most.edge) == (1_024, 4_096)


def test_too_few_are_refused_with_what_to_do() -> None:
    """A limit under LEAST is refused, and the hint says how to raise it."""
    with pytest.raises(TooFewDescriptors) as raised:
        Share.of(LEAST - 1)
    assert "511" in raised.value.hint
    assert "ulimit" in raised.value.hint


@pytest.mark.parametrize(("hard", "becomes"), [(600, 600), (20_000, WANTED)])
def test_the_soft_limit_is_raised(hard: int, becomes: int) -> None:
    """The soft limit is raised to what is wanted, or to the hard one if that is lower."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and allowed < hard:
        pytest.skip("this machine allows fewer open files")
    program = f"""
import resource
from local import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (300, {hard}))
descriptors.raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == [str(becomes), str(hard)]
