from __future__ import annotations

import pytest

from chalicelib.providers.origins import Origins
from chalicelib.providers.presets import PROVIDERS

REAL = Origins()
PRACTICE = Origins("http://localhost:8082")
OPENAI, GENERIC = PROVIDERS["openai"], PROVIDERS["generic"]


def test_default_origin() -> None:
    """Without an origin of its own, a key goes to its provider's."""
    assert REAL.choose(None, OPENAI) == "https://api.openai.com"


def test_origin_required() -> None:
    """A provider without a default has to be given an origin."""
    with pytest.raises(ValueError, match="origin is required, since this provider has no default"):
        REAL.choose(None, GENERIC)


@pytest.mark.parametrize(
    "origin",
    [
        "https://api.example.com",
        "https://api.example.com:443",
        "https://api.example.com:8443",
        "https://api.example.com:1024",
        "https://api.example.com:65535",
        "https://a.bc",
        "https://1.example.com",
        "https://api-1.eu-west-1.example.co",
        "https://" + ".".join(["a" * 63] * 3) + ".com",
    ],
)
@pytest.mark.parametrize("provider", ["openai", "anthropic", "generic"])
def test_valid_origin(origin: str, provider: str) -> None:
    """An origin is https, a host and perhaps a port."""
    assert REAL.choose(origin, PROVIDERS[provider]) == origin


@pytest.mark.parametrize(
    "origin",
    [
        # another scheme, or none
        *("", "api.example.com", "//api.example.com", "http://api.example.com", "HTTPS://api.example.com"),
        *("https:/api.example.com", "https:\\\\api.example.com", "ftp://api.example.com", "javascript:alert(1)"),
        *(" https://api.example.com", "https://api.example.com ", "https://api.example.com\n", "\thttps://api.example.com"),
        # more than a host
        *("https://api.example.com/", "https://api.example.com/v1", "https://api.example.com?x", "https://api.example.com#x"),
        *("https://evil.example#.api.openai.com", "https://evil.example#", "https://evil.example\\@api.openai.com"),
        # a user, whose host is another
        *("https://api.openai.com@evil.example", "https://user:pass@api.openai.com", "https://@evil.example"),
        *("https://api.openai.com%40evil.example", "https://api.openai.com:443@evil.example", "https://api.openai.com;evil.example"),
        # no name
        *("https://", "https://:443", "https://.", "https://..", "https://a..b", "https://.example.com", "https://-a.example.com"),
        *("https://a-.example.com", "https://a_b.example.com", "https://*.example.com", "https://a b.example.com"),
        *("https://example", "https://API.example.com", "https://api.example.com.", "https://api.example.com.:443"),
        *("https://" + "a" * 64 + ".com", "https://" + ".".join(["a" * 63] * 4) + ".com"),
        *("https://api.example.com\x00.evil.example", "https://api.example.com\x00", "https://api.example.com%00"),
        # an address, in any notation
        *("https://127.0.0.1", "https://127.1", "https://2130706433", "https://0x7f000001", "https://0x7f.1", "https://0177.0.0.1"),
        *("https://1.2.3.4:443", "https://[::1]", "https://[::1]:443", "https://[::ffff:127.0.0.1]", "https://169.254.169.254"),
        *("https://1.2.3.0x4", "https://a.1", "https://a.1b"),
        # this machine
        *("https://localhost", "https://localhost:8443", "https://a.localhost", "https://localhost.localdomain"),
        *("http://localhost:8443", "http://127.0.0.1:8443", "https://localhost."),
        # what looks like something else
        *("https://xn--pple-43d.com", "https://api.xn--openai-xyz.com", "https://api.example.xn--p1ai"),
        *("https://api.\u043epenai.com", "https://api.openai\u3002com", "https://api.opena\u0131.com", "https://\uff41pi.openai.com"),
        *("https://api.openai.com\u202e", "https://api\u2024openai.com", "https://api.openai.com\u200b", "https://\u0663.example.com"),
        # a port that is none, or that CloudFront does not go to
        *("https://a.example:", "https://a.example:0", "https://a.example:80", "https://a.example:1023", "https://a.example:65536"),
        *("https://a.example:99999", "https://a.example:0443", "https://a.example:+443", "https://a.example:-1", "https://a.example:4 43"),
        *("https://a.example:443:443", "https://a.example:\uff14\uff14\uff13", "https://a.example:https", "https://a.example:1e4"),
    ],
)  # fmt: skip
def test_invalid_origin(origin: str) -> None:
    """An origin that names anything but a host is refused, and not repeated."""
    for provider in PROVIDERS.values():
        with pytest.raises(ValueError, match=r"^origin must be https://host or https://host:port") as caught:
            REAL.choose(origin, provider)
        assert len(origin) <= len("https://") or origin not in str(caught.value)


def test_practice_origin() -> None:
    """While practising, every key goes to the practice provider."""
    for provider in PROVIDERS.values():
        assert PRACTICE.choose(None, provider) == "http://localhost:8082"


def test_practice_on_this_machine() -> None:
    """While practising, a key may go elsewhere on this machine."""
    assert PRACTICE.choose("http://localhost:9000", OPENAI) == "http://localhost:9000"


@pytest.mark.parametrize(
    "origin",
    [
        *("https://api.openai.com", "https://localhost:9000", "http://localhost", "http://localhost:80", "http://localhost:0"),
        *("http://localhost:99999", "http://127.0.0.1:9000", "http://localhost:9000/", "http://localhost:9000@evil.example"),
        *("http://localhost.evil.example:9000", "http://localhost:9000.evil.example", "http://evil.example:9000", ""),
    ],
)  # fmt: skip
def test_practice_never_leaves(origin: str) -> None:
    """While practising, no key leaves this machine."""
    with pytest.raises(ValueError, match=r"^origin must be http://localhost:port while the practice parts run"):
        PRACTICE.choose(origin, OPENAI)
