"""The APIs behind the edge and their keys: how a key is kept and shown, and what a call may reach with it."""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple, Protocol

from chalicelib import patterns
from chalicelib.errors import Refusal
from chalicelib.providers import paths as call_path
from chalicelib.providers.entry import Provider
from chalicelib.providers.presets import PROVIDERS


class ProviderKey:
    """A provider's key with the origin and the header it is for: set together, used together.

    Not a tuple, whose members `%` and JSON would show; not a dataclass, which a cold start would wait for.
    """

    __slots__ = ("header", "origin", "prefix", "value", "version")

    def __init__(self, version: str, origin: str, header: str, prefix: str, value: str) -> None:
        """Take the key. prefix: text before it in the header, e.g. "Bearer "."""
        self.version: Final = version
        self.origin: Final = origin
        self.header: Final = header
        self.prefix: Final = prefix
        self.value: Final = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProviderKey):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.version, self.origin, self.header, self.prefix, self.value))

    def __repr__(self) -> str:
        # SECURITY: keys redact themselves (test_canary.py).
        return f"ProviderKey(version={self.version!r}, origin={self.origin!r}, value=***)"

    def reveal(self) -> str:
        """Return the header's value with the real key in it. Called where the header is set, and nowhere else."""
        return self.prefix + self.value


class KeyConfig(NamedTuple):
    """A key as state has it, without its value. provider: a name of PROVIDERS."""

    provider: str
    version: str = ""
    """The version in force; "" if no value was ever set."""


class ProviderKeys(Protocol):
    """Where provider keys are kept, as the edge reads them."""

    def get(self, name: str, version: str) -> ProviderKey:
        """Return this version of the key; raises Unavailable if it cannot be read or is not there."""


class ProviderKeyStore(Protocol):
    """Where provider keys are kept, as administrators write them; what is written is never read back there."""

    def put(self, name: str, key: ProviderKey) -> None:
        """Keep a version of the key beside those before it; raises Unavailable. Nothing uses it yet."""


def closed(provider: Provider, path: str) -> bool:
    """Whether a path, in the provider's own form, is one that no grant opens: a closed one, or below one."""
    # SECURITY: in any spelling that some server takes for the same: by capitals, or with a verb behind `:`
    # (test_closed_in_every_spelling).
    return _closed(provider.closed).match(path.lower()) is not None


@functools.cache
def _closed(paths: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches all of these paths and what is below them: one look for all, since every call takes it."""
    every = ("/".join(_spellings(segment) for segment in path.lower().split("/")) for path in paths)
    return re.compile(rf"(?:{'|'.join(every)})(?:/|\Z)" if paths else r"(?!)")


def _spellings(segment: str) -> str:
    return "[^/]*" if segment == "*" else re.escape(segment) + "(?::[^/]*)?"


def scope_value(method: str, path: str) -> str:
    """Return what scopes are matched with: `METHOD:/path`."""
    return f"{method}:{path}"


def opens(scope: tuple[str, ...], method: str, path: str) -> bool:
    """Whether a scope opens a method and a path in the provider's own form."""
    return patterns.covered((scope_value(method, path),), scope)


def may_open(scope: tuple[str, ...], method: str, path: str) -> bool:
    """Whether a scope opens a method and a path as a client wrote it, if its provider is the right one.

    Which provider a key is for is known from state only; this spares state what no provider would make open.
    """
    return opens(scope, method, path) or any(opens(scope, method, own) for own in _readings(path))


def _readings(path: str) -> set[str]:
    found = set()
    for forms in _ALL_FORMS:
        try:
            found.add(call_path.to_provider_form(path, forms))
        except Refusal:
            continue  # no path of that provider
    return found


_ALL_FORMS = frozenset(provider.paths for provider in PROVIDERS.values())
