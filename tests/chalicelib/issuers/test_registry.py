"""Issuers: which URLs may be registered, whose token one claims to be, and that storing changes nothing."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.issuers.registry import Issuer, fits, url_fault
from chalicelib.policy import compile as policy
from chalicelib.tokens.jws import URL_LIMIT, unverified_issuer

GOOD = [
    "https://token.actions.githubusercontent.com",
    "https://github.example.com/_services/token",
    "https://gitlab.example.com:8443",
    "https://sts.windows.net/0e3e2e88-8caf-41ca-b4da-e3b33b6c52ec/",
    "https://kubernetes.default.svc.cluster.local",
    "https://idp.example.com/realms/acme~x_y",
    "https://[2001:db8::1]/x",
    "spiffe://prod.example.org",
]
BAD = [
    "",
    "http://idp.example.com",
    "http://127.0.0.1",
    "HTTPS://idp.example.com",
    "https:idp.example.com",
    "https://",
    "https:///x",
    "//idp.example.com",
    "idp.example.com",
    "ftp://idp.example.com",
    "file:///etc/passwd",
    "https://idp.example.com?x",
    "https://idp.example.com/?",
    "https://idp.example.com#x",
    "https://ada@idp.example.com",
    "https://ada:x@idp.example.com",
    "https://@idp.example.com",
    "https://idp.example.com/%2e%2e/x",
    "https://idp.example.com/../x",
    "https://idp.example.com/x/..",
    "https://idp.example.com/./x",
    "https://idp.example.com//x",
    "https://IDP.example.com",
    "https://idp.example.com:0",
    "https://idp.example.com:65536",
    "https://idp.example.com:x",
    "https://idp.example.com:",
    "https://[::1",
    "https://idp.ex\u00e4mple.com",
    "https://idp.example.com/\u0430",
    "https://idp.example.com\\x",
    "https://idp.example.com/ x",
    "https://idp.example.com\n",
    "\thttps://idp.example.com",
    "https://idp.example.com/\0",
    "https://idp.example.com/*",
    "https://*.example.com",
    "https://idp.example.com/" + "x" * URL_LIMIT,
    "spiffe://prod.example.org/",
    "spiffe://prod.example.org/ns/x",
    "spiffe://",
    "spiffe://Prod.example.org",
]


@pytest.mark.parametrize("url", GOOD)
def test_valid_url(url: str) -> None:
    """A plain https URL may be registered."""
    assert url_fault(url, allow_loopback=False) is None


@pytest.mark.parametrize("url", BAD, ids=lambda url: ascii(url)[:40])
def test_invalid_url(url: str) -> None:
    """Any other URL may not be registered."""
    assert url_fault(url, allow_loopback=False)
    assert url.startswith("http://127.") or url_fault(url, allow_loopback=True)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8003", True),
        ("http://localhost:8003/x", True),
        ("http://[::1]:8003", True),
        ("http://127.0.0.2", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("http://0.0.0.0", False),
        ("http://2130706433", False),
        ("http://[::ffff:127.0.0.1]", False),
    ],
)
def test_loopback_http(url: str, here: bool) -> None:  # noqa: FBT001  a parameter of the table
    """Http is for loopback issuers, and only where those are allowed."""
    assert (url_fault(url, allow_loopback=True) is None) is here
    assert url_fault(url, allow_loopback=False)


@given(st.text(max_size=30) | st.text("htps:/.[]@%?#0a-\n ", max_size=30).map(lambda text: "https://a" + text))
@example("https://[")
@example("https://a:")
@example("https://a]")
def test_valid_url_has_one_reading(url: str) -> None:
    """A URL that passes is read by others as it looks."""
    if url_fault(url, allow_loopback=False) is None:
        parts = urlsplit(url)
        assert parts.scheme in ("https", "spiffe")
        assert parts.geturl() == url
        assert url.isascii()
        assert not set(url) & set(" \n\r\t\0?#%\\")
        assert parts.hostname
        assert parts.username is None


# Whose token it claims to be


@pytest.mark.parametrize(
    ("claims", "issuer"),
    [
        ({"iss": "https://idp.example.com"}, "https://idp.example.com"),
        ({"iss": "https://idp.example.com/"}, "https://idp.example.com/"),
        ({"sub": "spiffe://prod.example.org/ns/x"}, "spiffe://prod.example.org"),
        ({"sub": "spiffe://prod.example.org"}, "spiffe://prod.example.org"),
        ({"iss": "https://idp.example.com", "sub": "spiffe://prod.example.org/x"}, "https://idp.example.com"),
        ({"iss": None, "sub": "spiffe://prod.example.org/x"}, None),
        ({"iss": "", "sub": "spiffe://prod.example.org/x"}, None),
        ({"iss": 5, "sub": "spiffe://prod.example.org/x"}, None),
        ({"iss": ["https://idp.example.com"]}, None),
        ({"sub": "https://idp.example.com"}, None),
        ({"sub": "SPIFFE://prod.example.org/x"}, None),
        ({"sub": ["spiffe://prod.example.org/x"]}, None),
        ({}, None),
        ({"iss": "x" * (URL_LIMIT + 1)}, None),
        ({"sub": "spiffe://" + "x" * URL_LIMIT}, None),
    ],
)
def test_trust_domain(claims: dict[str, object], issuer: str | None) -> None:
    """A token is of its `iss`, or of its trust domain where it has none."""
    assert unverified_issuer(claims) == issuer


# Forms


@pytest.mark.parametrize(
    ("url", "forms", "answer"),
    [
        ("https://anything.example.com", (), True),
        ("https://a.example.com/x", ("https://a.example.com/*",), True),
        ("https://a.example.com/x/y", ("https://a.example.com/*",), False),
        ("https://a.example.com/", ("https://a.example.com/*",), False),
        ("https://aXexample.com/x", ("https://a.example.com/*",), False),
        ("https://b.example.com", ("https://a.example.com", "https://b.example.com"), True),
        ("xhttps://a.example.com", ("https://a.example.com",), False),
    ],
)
def test_url_form(url: str, forms: tuple[str, ...], answer: bool) -> None:  # noqa: FBT001  a parameter of the table
    """A form has a star for anything but a slash."""
    assert fits(url, forms) is answer


# Storing


@pytest.mark.parametrize(
    "written",
    [
        "preset: github-actions, audience: keybroker",
        "preset: circleci, audience: keybroker, url: https://oidc.circleci.com/org/x",
        "preset: kubernetes, audience: keybroker, url: https://k8s.example.com, max_lifetime: 1h, single_use: true",
        "url: https://idp.example.com, audience: keybroker, algorithms: [ES256, PS512]",
    ],
)
def test_issuer_round_trip(written: str) -> None:
    """An issuer is read back as it was stored, types included."""
    text = f"keys: {{k: {{provider: generic}}}}\nissuers:\n  a: {{{written}}}\ngrants:\n  g:\n    key: k\n"
    text += "    to: {issuer: a, claims: {sub: x}}\n    scope: ['GET:/x']\n    quota: {tokens: 1/day, calls: 1/day}\n"
    one = policy.parse(text).issuers["a"]
    again = Issuer.from_json(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert repr(again) == repr(one)  # for True == 1


POLICY = """\
keys: {openai: {provider: openai}}
issuers: {own: {url: https://idp.example.com, audience: AUDIENCE}}
grants:
  app:
    key: openai
    to: {issuer: own, claims: {sub: u1}}
    scope: ["GET:/v1/models"]
    quota: {tokens: 1/hour, calls: 1/minute}
"""


@pytest.mark.parametrize(
    ("written", "stored"), [("keybroker", "keybroker"), ("[keybroker]", "keybroker"), ("[new, old]", ["new", "old"])]
)
def test_audiences_are_stored_as_they_are_written(written: str, stored: object) -> None:
    """A single audience is stored as text, as ever, and several as a list; both are read back."""
    issuer = policy.parse(POLICY.replace("AUDIENCE", written)).issuers["own"]
    kept = json.loads(json.dumps(issuer.to_json()))
    assert (kept["audience"], "other_audiences" in kept) == (stored, False)
    assert Issuer.from_json(kept) == issuer
    assert list(issuer.audiences) == ([stored] if isinstance(stored, str) else stored)
