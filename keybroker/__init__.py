"""Keybroker's client: gets short-lived tokens for APIs that are otherwise opened by a static key.

TokenProvider   what a program holds instead of a key; see docs/library.md
find_identity   the workload identity that this program would prove to the broker
exchange_token, exchange_signature, revoke_token   single requests, for other tools

This package is what users install, so it needs the standard library alone; botocore, click, httpx and anthropic are
imported inside the functions that need them. Nothing is imported from the broker (`chalicelib`) or from `local`, and
`import keybroker` loads only the errors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from keybroker.errors import IdentityError, KeybrokerError, NoIdentity, NotConfigured, Refused, Unreachable

if TYPE_CHECKING:
    from keybroker.ambient import Identity, find_identity
    from keybroker.client import exchange_signature, exchange_token, revoke_token
    from keybroker.token import Token
    from keybroker.token_provider import TokenProvider

__all__ = [
    "Identity",
    "IdentityError",
    "KeybrokerError",
    "NoIdentity",
    "NotConfigured",
    "Refused",
    "Token",
    "TokenProvider",
    "Unreachable",
    "exchange_signature",
    "exchange_token",
    "find_identity",
    "revoke_token",
]
_LAZY = {
    "Identity": "ambient",
    "Token": "token",
    "TokenProvider": "token_provider",
    "exchange_signature": "client",
    "exchange_token": "client",
    "find_identity": "ambient",
    "revoke_token": "client",
}
"""Public name -> the module that is imported when the name is first used."""


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'keybroker' has no attribute {name!r}")
    return getattr(import_module(f"keybroker.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
