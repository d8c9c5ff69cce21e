"""A path as its provider writes it, whatever a client makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.providers.paths import split, to_provider_form
from chalicelib.providers.presets import PROVIDERS
from tests.chalicelib.providers.test_paths import URIS, is_stable, outcome_of
from tests.provider_vectors import examples
from tests.refused import refused


@pytest.mark.parametrize(("provider", "pair"), examples("paths"))
def test_provider_form(provider: str, pair: tuple[str, str]) -> None:
    """A path is sent on as the provider writes it."""
    path, own_path = pair
    assert to_provider_form(path, PROVIDERS[provider].paths) == own_path
    assert to_provider_form(own_path, PROVIDERS[provider].paths) == own_path


@pytest.mark.parametrize(("provider", "path"), examples("mapped twice"))
def test_mapped_twice(provider: str, path: str) -> None:
    """A path is refused if its provider form could be mapped again."""
    refusal = refused(lambda: to_provider_form(path, PROVIDERS[provider].paths))
    assert (refusal.reason, refusal.status) == ("path_ambiguous", 400)


@given(st.sampled_from(sorted(PROVIDERS)), URIS)
def test_provider_form_is_stable(provider: str, uri: str) -> None:
    """What is sent on is its own provider form, and has one reading."""
    outcome = outcome_of(uri)
    if isinstance(outcome, Refusal):
        return
    forms = PROVIDERS[provider].paths
    try:
        found = to_provider_form(outcome[1], forms)
    except Refusal:
        return
    assert to_provider_form(found, forms) == found
    assert is_stable(found)
    assert found == "/" or split("/key" + found) == ("key", found)
