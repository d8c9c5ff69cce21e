from __future__ import annotations

import pytest

from keybroker import NotConfigured, Refused, Unreachable
from keybroker.audience import discover_audience
from tests.running import Running
from tests.scripted_broker import scripted


def test_a_broker_says_for_which_audience_its_issuers_tokens_have_to_be(running: Running) -> None:
    assert discover_audience(running.broker, running.issuer) == "keybroker"


@pytest.mark.parametrize("said", ["keybroker", "keybroker.octo-org", "keybroker-production"])
def test_an_audience_of_keybrokers_own_form_is_taken_from_the_broker(said: str) -> None:
    with scripted() as broker:
        broker.audience = said
        assert discover_audience(broker.url, "https://issuer.example") == said


def test_the_brokers_own_address_may_be_its_audience() -> None:
    with scripted() as broker:
        broker.audience = broker.url
        assert discover_audience(f"{broker.url}/", "https://issuer.example") == broker.url


@pytest.mark.parametrize(
    "said",
    ["sts.amazonaws.com", "pypi", "sigstore", "keybroker.\n", "KEYBROKER", "https://keybroker.example", "keybrokers"],
)
def test_an_audience_that_is_another_services_is_not_taken_from_the_broker(said: str) -> None:
    with scripted() as broker:
        broker.audience = said
        with pytest.raises(NotConfigured, match="could belong to another service; set that audience yourself"):
            discover_audience(broker.url, "https://issuer.example")


def test_a_broker_that_refuses_or_is_away_is_no_audience(running: Running) -> None:
    with pytest.raises(Refused):
        discover_audience(running.broker, "")
    with pytest.raises(Unreachable):
        discover_audience("http://127.0.0.1:1", "https://issuer.example")
    with pytest.raises(NotConfigured):
        discover_audience("http://broker.example", "https://issuer.example")
