"""Who vouches for callers: OIDC issuers, what each may sign with, and which claim names its subjects for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from chalicelib.jwk import VerifyingKey

URL_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of an issuer. url: None where each installation has its own. Seconds in max_lifetime.

    identity: the claim with the id that is never recycled. label: the claim to show people.
    refused: values of a claim that are refused unless a grant lists them.
    """

    url: str | None
    algorithms: tuple[str, ...]
    max_lifetime: int
    single_use: bool
    identity: str
    label: str
    required: tuple[str, ...] = ()
    refused: tuple[tuple[str, tuple[str, ...]], ...] = ()


# Source of the claims: GitHub's documentation, "OpenID Connect reference". `sub` is not used: its shape changed on
# 2026-07-15 and is configurable. The refused events run code of a fork, or text of a stranger, with the repository's
# identity.
GITHUB_ACTIONS = Preset(
    url="https://token.actions.githubusercontent.com",
    algorithms=("RS256",),
    max_lifetime=900,
    single_use=True,
    identity="repository_id",
    label="repository",
    required=("jti", "repository_id", "repository_owner_id", "event_name"),
    refused=(("event_name", ("pull_request_target", "workflow_run", "issue_comment")),),
)
GENERIC = Preset(
    url=None, algorithms=("RS256", "ES256"), max_lifetime=3600, single_use=False, identity="sub", label="sub"
)
PRESETS: Mapping[str, Preset] = {"github-actions": GITHUB_ACTIONS}


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer as the policy registers it. url is matched byte for byte with `iss`; see Preset for the rest."""

    name: str
    url: str
    audience: str
    algorithms: tuple[str, ...]
    max_lifetime: int
    single_use: bool
    identity: str
    label: str
    required: tuple[str, ...]
    refused: tuple[tuple[str, tuple[str, ...]], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the form that state adapters store."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Issuer:
        """Read the stored form back."""
        lists = {name: tuple(stored[name]) for name in ("algorithms", "required")}
        refused = tuple((claim, tuple(values)) for claim, values in stored["refused"])
        return cls(**{**stored, **lists, "refused": refused})


class KeySource(Protocol):
    """Finds issuers' public keys."""

    def find(self, issuer: Issuer, kid: str, now: int) -> VerifyingKey:
        """Return the key; raises TokenInvalid if the issuer has no such key, Unavailable if that cannot be told."""


def url_fault(url: str, *, allow_loopback: bool) -> str | None:
    """Say what is wrong with an issuer's URL, or None. allow_loopback: http is let through for this machine's own.

    Compared byte for byte ever after: there is no normal form, so a trailing slash is another issuer.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets without an address, a port that is none
        return "a URL with a proper host and port"
    loopback = allow_loopback and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not url.isascii() or any(character <= " " for character in url) or len(url) > URL_LIMIT:
        return f"ASCII without white space, at most {URL_LIMIT} characters"
    if parts.scheme != "https" and not (loopback and parts.scheme == "http"):
        return "an https:// URL"
    if (
        not parts.hostname
        or port == 0
        or parts.username is not None
        or parts.query
        or parts.fragment
        or url[-1] in "?#"
    ):
        return "a host, and neither user, query nor fragment"
    if ".." in parts.path or "//" in parts.path or "%" in parts.path:
        return "a plain path"
    return None
