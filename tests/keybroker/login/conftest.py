"""An issuer to log in at, and a folder for the login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.login_issuer import LoginIssuer, login_issuer


@pytest.fixture
def issuer() -> Iterator[LoginIssuer]:
    """Run an issuer."""
    with login_issuer() as one:
        yield one


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """Return a folder that does not exist yet."""
    return tmp_path / "state" / "keybroker"
