"""What the client's tests run under: an environment without an identity."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keybroker import aws
from tests.keybroker.cli.keybroker_command import job
from tests.keybroker.numbered_source import Source
from tests.running import Running
from tests.scripted_broker import bare_surroundings


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove what identifies the test itself: a CI's variables and AWS credentials."""
    bare_surroundings(monkeypatch)
    yield
    aws._chain.cache_clear()


@pytest.fixture
def github_job(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Make the test a GitHub Actions job at the running broker."""
    for name, value in job(running).items():
        monkeypatch.setenv(name, value)
    return running


@pytest.fixture
def source() -> Source:
    """Return a source of numbered tokens."""
    return Source()
