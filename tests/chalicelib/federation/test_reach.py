"""A key is refused that our own issuer could never prove: the provider cannot read its keys, or takes no such subject."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.federation import assertion
from chalicelib.federation.reach import is_public, rules_of
from chalicelib.policy import compile as policy
from local.machine import Machine
from local.practice.federation import parties
from local.urls import Urls
from tests.parts import DIALECT, GRANTS, ISSUERS

PUBLIC = "https://broker.example.com"


def written(provider: str, name: str = "fed", identity: str = "broker") -> str:
    """A policy whose first key is federated."""
    ids = parties.POLICY[provider].removeprefix("{")
    entry = f"  {name}: {{provider: {provider}, federated: {{identity: {identity}, {ids}}}\n"
    return (ISSUERS + GRANTS).replace("keys:\n", f"keys:\n{entry}", 1)


def faults(text: str, rules: policy.InstallationRules) -> list[str]:
    """What is wrong with a policy."""
    try:
        policy.parse(text, rules=rules)
    except policy.InvalidPolicyError as invalid:
        return [str(one) for one in invalid.faults]
    return []


@pytest.mark.parametrize(
    ("url", "is_so"),
    [
        (PUBLIC, True),
        ("https://8.8.8.8:8443", True),
        ("http://broker.example.com", False),
        ("http://127.0.0.1:8080", False),
        ("https://127.0.0.1:8080", False),
        ("https://[::1]:8080", False),
        ("https://10.1.2.3", False),
        ("https://localhost", False),
        ("https://broker", False),
        ("https://broker.internal", False),
    ],
)
def test_what_providers_can_read(url: str, is_so: bool) -> None:  # noqa: FBT001  a table
    """Providers read keys over the internet with TLS: no plain HTTP, no loopback, no private address, no name without a domain."""
    assert is_public(url) is is_so


@pytest.mark.parametrize("provider", ["openrouter", "azure-openai", "openai"])
@pytest.mark.parametrize("broker", ["http://127.0.0.1:8080", "https://127.0.0.1:8080", PUBLIC, ""])
@pytest.mark.parametrize("identity", ["broker", "aws-sts"])
def test_an_issuer_that_nobody_can_read(provider: str, broker: str, identity: str) -> None:
    """Our own issuer is refused for a provider that reads its keys over the internet alone, where it cannot; AWS's never is."""
    found = faults(written(provider, identity=identity), rules_of(DIALECT, broker))
    if provider != "openai" and broker not in ("", PUBLIC) and identity == "broker":
        assert len(found) == 1
        assert "keys.fed.federated.identity" in found[0]
        assert "over which alone this provider reads its keys" in found[0]
    else:
        assert found == []


@pytest.mark.parametrize(("host", "is_refused"), [(49, False), (50, True)])
def test_a_subject_that_google_does_not_take(host: int, is_refused: bool) -> None:  # noqa: FBT001  a table
    """Google takes a subject of 127 characters at most; a key whose subject would be longer is refused, with its length."""
    broker = f"https://{'h' * (host - 4)}.com"
    assert len(assertion.subject_of(broker, "k" * 64)) == 127 + is_refused
    found = faults(written("gemini", "k" * 64), rules_of(DIALECT, broker))
    assert len(found) == is_refused
    assert all("a subject of at most 127 characters" in one and "128" in one for one in found)
    assert faults(written("openai", "k" * 64), rules_of(DIALECT, broker)) == []


def test_one_machine(tmp_path: Path) -> None:
    """A machine knows its own URL, and beside practice providers, which are on it too, its issuer can be read by all."""
    own = "http://127.0.0.1:1"
    real = Machine(tmp_path, Urls(own, own, None, None)).rules()
    practice = Machine(tmp_path, Urls(own, own, own, own)).rules()
    assert (real.issuer_is_public, practice.issuer_is_public) == (False, True)
    assert real.subjects == "spiffe://127.0.0.1/key/"
