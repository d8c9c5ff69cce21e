"""The practice provider on a real socket, with accounts in which keys are made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.practice.key_account import KeyAccount
from local.practice.provider import make_provider
from tests.practice_server import KEYS, serving


@pytest.fixture
def accounts() -> dict[str, KeyAccount]:
    """The accounts of the practice provider."""
    return {"openai": KeyAccount(), "openrouter": KeyAccount()}


@pytest.fixture
def provider(accounts: dict[str, KeyAccount]) -> Iterator[str]:
    """The practice provider's URL."""
    with serving(make_provider(KEYS, accounts=accounts)) as url:
        yield url
