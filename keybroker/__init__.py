"""Keybroker's client: gets short-lived tokens for APIs that a static key opens."""

from keybroker.errors import KeybrokerError, Refused, Unreachable
from keybroker.exchange import exchange_token
from keybroker.issued_token import Token

__all__ = ["KeybrokerError", "Refused", "Token", "Unreachable", "exchange_token"]
