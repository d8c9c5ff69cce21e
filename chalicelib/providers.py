"""The APIs behind the edge: where they are, how they want their key, and what is never opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from chalicelib import patterns


@dataclass(frozen=True, slots=True)
class Provider:
    """A preset. origin: `https://host[:port]`, None where each installation has its own.

    header, prefix: how the key is sent. base_path: what SDKs expect at the end of a base URL. closed: `METHOD:/path`
    patterns that no grant opens, for they mint credentials or administer the account; `*` is any method there.
    """

    origin: str | None
    header: str
    prefix: str
    base_path: str
    closed: tuple[str, ...]


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider("https://api.openai.com", "authorization", "Bearer ", "/v1", ("/v1/organization",)),
    "anthropic": Provider("https://api.anthropic.com", "x-api-key", "", "", ("/v1/organizations", "/v1/oauth")),
    "generic": Provider(None, "authorization", "Bearer ", "", ()),
}

TOKEN_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
"""Where a token may arrive. All of them are taken off every request."""


@dataclass(frozen=True, slots=True, repr=False)
class ProviderKey:
    """A provider's key with the origin and the header it is for: set together, used together."""

    version: str
    origin: str
    header: str
    prefix: str
    value: str

    def __repr__(self) -> str:
        # SECURITY: keys redact themselves (test_canary.py).
        return f"ProviderKey(version={self.version!r}, origin={self.origin!r}, value=***)"

    def reveal(self) -> str:
        """Return the header's value with the real key in it. Called where the header is set, and nowhere else."""
        return self.prefix + self.value


class ProviderKeys(Protocol):
    """Where provider keys are kept, as the edge reads them."""

    def get(self, name: str, version: str) -> ProviderKey:
        """Return this version of the key; raises Unavailable if it cannot be read or is not there."""


class ProviderKeyStore(Protocol):
    """Where provider keys are kept, as administrators write them; what is written is never read back there."""

    def put(self, name: str, key: ProviderKey) -> None:
        """Keep a version of the key beside those before it; raises Unavailable. Nothing uses it yet."""


def closed(provider: Provider, path: str) -> bool:
    """Whether a path is one that no grant opens: one of the provider's closed paths, or below one."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in provider.closed)


def scope_value(method: str, path: str) -> str:
    """Return what scopes are matched with: `METHOD:/path`."""
    return f"{method}:{path}"


def opens(scope: tuple[str, ...], method: str, path: str) -> bool:
    """Whether a scope opens a method and path."""
    return patterns.covered([scope_value(method, path)], scope)
