from __future__ import annotations

from chalicelib.providers.presets import PROVIDERS
from chalicelib.rotation.managements import MANAGEMENTS
from keybroker.cli.key_pages import MANAGED, PAGES, page


def test_every_preset_has_a_page() -> None:
    """Of each provider that is known it is said where its keys are made; of others nothing is made up."""
    assert PAGES.keys() == PROVIDERS.keys() - {"generic"}
    assert page("generic") == "its provider"


def test_what_is_managed_is_what_the_broker_can_manage() -> None:
    """The providers with an API are the same to the command line and to the broker."""
    assert MANAGEMENTS.keys() == MANAGED
