"""What the fields of a configuration file may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import configuration_values as values

HERE = Path("/made/up")


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://broker.example.com", "https://broker.example.com"),
        ("https://Broker.example.com:8443/", "https://broker.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_public_urls(url: str, read: str) -> None:
    """A public URL is https and a host; plain http is for this machine."""
    assert values.public_url(url, HERE) == read


@pytest.mark.parametrize(
    "url",
    [
        *("http://broker.example.com", "https://", "https://broker.example.com/path", "https://broker.example.com?x"),
        *("https://user@broker.example.com", "broker.example.com", "https://broker.example.com:99999", "https://a#b"),
        *("https://broker.example.com:", " https://a", "https://[::1", "https://[::1]", "", 7),
    ],
)
def test_what_is_no_public_url(url: object) -> None:
    """Paths, users, queries and plain http beyond this machine are refused."""
    with pytest.raises(ValueError, match=r"^https://NAME"):
        values.public_url(url, HERE)


@pytest.mark.parametrize("found", [["0.0.0.0/0"], ["10.0.0.1", "::/0"]])
def test_not_everybody_is_a_trusted_proxy(found: object) -> None:
    """Who trusted all addresses would let every caller name its own."""
    with pytest.raises(ValueError, match="none of them all addresses"):
        values.networks(found, HERE)


@pytest.mark.parametrize("found", ["10.0.0.1", [7], ["10.0.0.1/8"], ["proxy.example.com"], [""]])
def test_what_is_no_list_of_networks(found: object) -> None:
    """Names, bits of a host and other types are refused."""
    with pytest.raises(ValueError, match="a list of IP addresses"):
        values.networks(found, HERE)


def test_paths_start_from_the_file() -> None:
    """A relative path is beside the file."""
    assert values.path("tls/key.pem", HERE) == HERE / "tls/key.pem"
    assert values.path("/etc/key.pem", HERE) == Path("/etc/key.pem")


@pytest.mark.parametrize("found", [True, 0, 65, "2", 1.0, None])
def test_what_is_no_number(found: object) -> None:
    """True is no number, and neither is what is outside the bounds."""
    with pytest.raises(ValueError, match="a whole number from 1 to 64"):
        values.whole_number(1, 64)(found, HERE)
