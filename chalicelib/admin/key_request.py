"""Finds the key that an administrator's request names, and reads one to set it. Nothing in it is ever quoted: any member may hold the key."""

from __future__ import annotations

import re
from collections.abc import Mapping

from chalicelib.errors import MalformedRequest
from chalicelib.providers import header_names
from chalicelib.providers.entry import Provider
from chalicelib.providers.errors import KeyFederated, NoSuchKey
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.origins import Origins
from chalicelib.providers.presets import PROVIDERS
from chalicelib.providers.versions import KeyInfo, Keys, KeyVersion

VALUE_LIMIT = 8192
"""Characters of a key at most."""
PREFIX_LIMIT = 64
HEADER_LIMIT = 64
MEMBERS = ("value", "origin", "header", "prefix")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # as a policy has it
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_PREFIX = re.compile(r"(?:[\x21-\x7e][\x20-\x7e]*)?")
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2, in lower case
_TAKEN = frozenset(
    {"cookie", "date", "expect", "from", "host", "max-forwards", "origin", "pragma", "range", "referer", "server"}
    | {"set-cookie", "transfer-encoding", "user-agent", "via", "warning", "x-request-id"}
)
"""Beside those that the edge takes off a call."""
_TAKEN_PREFIXES = (
    *("accept", "access-control-", "cache-", "cdn-", "cf-", "content-", "if-", "sec-", "x-accel-", "x-amz-", "x-cache"),
)
_NO_HEADER = "header must be the lower-case name of a header for keys, such as x-api-key"
_FOLDS = "this one is read as a reserved header, since many servers take `_` and the like for `-`"


def is_name(text: str) -> bool:
    """Whether a key could have this name."""
    return _NAME.fullmatch(text) is not None


def find(keys: Keys, name: str) -> KeyInfo:
    """Return a key of the policy; raises NoSuchKey."""
    info = keys.key_info(name) if is_name(name) else None
    if info is None:
        # SECURITY: the name is not quoted: a caller who mixes up name and value has sent the value (test_keys.py).
        raise NoSuchKey
    return info


def find_static(keys: Keys, name: str) -> KeyInfo:
    """Return a key whose value is set by hand or replaced by an account; raises NoSuchKey, KeyFederated."""
    info = find(keys, name)
    if info.federated is not None:
        # SECURITY: a key has one source; a value beside it would stay in force unseen (test_a_federated_key_is_not_set).
        raise KeyFederated
    return info


def read(fields: object, info: KeyInfo, origins: Origins, version: str) -> ProviderKey:
    """Return the key to set; raises MalformedRequest that says what a member must be. info: the key as it is.

    What is left out stays as it is in force, or else is the provider's default; a header with another name has no prefix
    unless one is sent.
    """
    if not isinstance(fields, Mapping) or fields.keys() - set(MEMBERS):
        raise MalformedRequest(f"the body must be a JSON object; its members are {', '.join(MEMBERS)}")
    provider, kept = PROVIDERS[info.provider], info.kept(origins)
    header = _header(fields.get("header", kept.header if kept else provider.header))
    prefix = _prefix(fields.get("prefix", _usual_prefix(header, provider, kept)))
    origin = fields.get("origin", kept.origin if kept else None)
    if "origin" in fields and not isinstance(origin, str):
        raise MalformedRequest("origin must be text")
    try:
        chosen = origins.choose(origin, provider)
    except ValueError as fault:
        raise MalformedRequest(str(fault)) from None
    return ProviderKey(version, chosen, header, prefix, _value(fields.get("value"), prefix))


def _usual_prefix(header: str, provider: Provider, kept: KeyVersion | None) -> str:
    if kept is not None and header == kept.header and kept.prefix is not None:
        return kept.prefix
    return provider.prefix if header == provider.header else ""


def _value(value: object, prefix: str) -> str:
    if not isinstance(value, str) or len(value) > VALUE_LIMIT or not _VALUE.fullmatch(value):
        raise MalformedRequest(
            f"value must be 1 to {VALUE_LIMIT} printable ASCII characters, without spaces at the ends"
        )
    if prefix.strip() and value.lower().startswith(prefix.lower()):
        raise MalformedRequest("value must be the key without its prefix, which is added to it")
    return value


def _header(header: object) -> str:
    fits = isinstance(header, str) and len(header) <= HEADER_LIMIT and _HEADER.fullmatch(header)
    if not isinstance(header, str) or not fits:
        raise MalformedRequest(_NO_HEADER)
    found = header_names.canonical(header)
    if found in header_names.TOKEN_HEADERS:
        if header != found:
            # SECURITY: the edge takes it for the other, which may hold a caller's token (test_header_that_folds).
            raise MalformedRequest(
                f"header must be written {found}: in this spelling, many servers take it for that one"
            )
        return header
    # SECURITY: a key must not go into a header that routes or frames a call, or says who sent it, under no spelling
    # that a server takes for it (test_reserved_header).
    if found in _TAKEN or found.startswith(_TAKEN_PREFIXES) or header_names.is_dropped(header):
        raise MalformedRequest(_NO_HEADER if header == found else f"{_NO_HEADER}; {_FOLDS}")
    return header


def _prefix(prefix: object) -> str:
    if not isinstance(prefix, str) or len(prefix) > PREFIX_LIMIT or not _PREFIX.fullmatch(prefix):
        raise MalformedRequest(
            f"prefix must be at most {PREFIX_LIMIT} printable ASCII characters, and must not begin with a space"
        )
    return prefix
