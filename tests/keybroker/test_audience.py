from __future__ import annotations

import pytest

from keybroker import NotConfigured, Refused, Unreachable
from keybroker.audience import discover_audience
from tests.running import Running
from tests.scripted_broker import scripted


def test_a_broker_names_the_audience(running: Running) -> None:
    """A broker says which audience an issuer's tokens must have."""
    assert discover_audience(running.broker, running.issuer) == "keybroker"


@pytest.mark.parametrize("said", ["keybroker", "keybroker.octo-org", "keybroker-production"])
def test_a_keybroker_audience_is_believed(said: str) -> None:
    """An audience in Keybroker's own form is believed."""
    with scripted() as broker:
        broker.audience = said
        assert discover_audience(broker.url, "https://issuer.example") == said


def test_the_brokers_url_may_be_its_audience() -> None:
    """The broker's own URL may be its audience."""
    with scripted() as broker:
        broker.audience = broker.url
        assert discover_audience(f"{broker.url}/", "https://issuer.example") == broker.url


@pytest.mark.parametrize(
    "said",
    ["sts.amazonaws.com", "pypi", "sigstore", "keybroker.\n", "KEYBROKER", "https://keybroker.example", "keybrokers"],
)
def test_another_services_audience_is_refused(said: str) -> None:
    """An audience that could be another service's is not believed."""
    with scripted() as broker:
        broker.audience = said
        with pytest.raises(NotConfigured, match="could belong to another service; set that audience yourself"):
            discover_audience(broker.url, "https://issuer.example")


def test_without_a_broker_there_is_no_audience(running: Running) -> None:
    """A broker that refuses or cannot be reached gives no audience."""
    with pytest.raises(Refused):
        discover_audience(running.broker, "")
    with pytest.raises(Unreachable):
        discover_audience("http://127.0.0.1:1", "https://issuer.example")
    with pytest.raises(NotConfigured):
        discover_audience("http://broker.example", "https://issuer.example")
