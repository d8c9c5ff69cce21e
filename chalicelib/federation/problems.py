"""Why no credential was minted, in one line for people: told apart is whether the provider, or this installation, has to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_STS: Final = "sts_"
_MISSING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "app_key_missing": "the App's private key is not here: keybroker state app-key; on AWS import it into KMS",
        "federation_key_missing": "our own issuer has no key for an algorithm that the provider takes: on AWS deploy keys with Issuer",
        "no_aws_credentials": "this installation has no AWS credentials to sign with",
        "no_aws_region": "this installation has no AWS region: set AWS_REGION",
        "not_in_practice": "the practice parts ask AWS for nothing: start without them, or name another identity",
        "signing_key_malformed": "a key of our own issuer is of a kind that signs nothing: configure another",
    }
)
"""What is missing here: trying again does not help."""
_AWAY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "signing_": "the keys that prove us to the provider are out of reach",
        "provider_keys_": "what the provider gave could not be stored",
        "provider_key_": "the store of credentials is out of reach",
        "state_": "the broker's state is out of reach",
        "fault_": "the minter has a fault: see its log",
    }
)
"""What is out of reach here, by how its word begins."""


def lacks(problem: str, *, denied: bool) -> bool:
    """Whether something of this installation's own has to be mended by a person, and the provider is not to blame."""
    return problem in _MISSING or (problem.startswith(_STS) and denied)


def words(problem: str, *, denied: bool) -> str:
    """Return a problem in words, and its word. denied: see `MintError`."""
    return f"{_words(problem, denied=denied)} ({problem})"


def _words(problem: str, *, denied: bool) -> str:
    if problem in _MISSING:
        return _MISSING[problem]
    if problem.startswith(_STS):
        return (
            "AWS does not vouch for this installation, or lets it not assume the role"
            if denied
            else "AWS did not answer"
        )
    away = next((text for start, text in _AWAY.items() if problem.startswith(start)), "")
    if away and not denied:
        return away
    if problem == "life_too_short":
        return "the provider's credentials end too soon to be of use: have its rule give them 2 min at least"
    return "the provider refuses" if denied else "the provider did not answer with a credential"
