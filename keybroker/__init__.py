"""Keybroker's client: gets short-lived tokens for APIs that a static key opens.

TokenProvider   what a program holds instead of a key; see docs/library.md
find_identity   who this program is, as it would prove it to the broker
exchange_token, exchange_signature, revoke_token   single requests, for other tools
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from keybroker.errors import IdentityError, KeybrokerError, NoIdentity, NotConfigured, Refused, Unreachable

if TYPE_CHECKING:
    from keybroker.ambient import Identity
    from keybroker.ambient import find as find_identity
    from keybroker.exchange import exchange_signature, exchange_token
    from keybroker.issued_token import Token
    from keybroker.revoke import revoke_token
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
_WHERE = {
    "Identity": ("ambient", "Identity"),
    "Token": ("issued_token", "Token"),
    "TokenProvider": ("token_provider", "TokenProvider"),
    "exchange_signature": ("exchange", "exchange_signature"),
    "exchange_token": ("exchange", "exchange_token"),
    "find_identity": ("ambient", "find"),
    "revoke_token": ("revoke", "revoke_token"),
}
"""What is imported when it is first used: the module it is in, and its name there."""


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'keybroker' has no attribute {name!r}")
    module, inside = _WHERE[name]
    return getattr(import_module(f"keybroker.{module}"), inside)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
