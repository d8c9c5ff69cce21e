"""The path of a call: which key it is for, and the provider's own path in the one form that scopes are matched with."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from chalicelib.errors import Refusal

# SECURITY: the form that is checked is the form that is sent on. What a provider might read differently is refused:
# dot segments, empty segments, and `;`, `\\`, separators or plain characters in percent-encoding
# (test_call_path.py: `%3A` would carry a `:` past a pattern, `%2e%2e` would climb).
_PLAIN = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})*)+")
_ENCODED = re.compile(r"(?:%[0-9A-F]{2})+")
_NEVER_ENCODED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/\\:;%?#")


def split(uri: str) -> tuple[str, str]:
    """Return the key's name and the provider's path of `/<key>/<path>`; raises Refusal `path_ambiguous` or `no_key`."""
    segments = uri[1:].removesuffix("/").split("/")
    if not _PLAIN.fullmatch(uri) or (uri != "/" and any(segment in ("", ".", "..") for segment in segments)):
        raise _ambiguous()
    for run in _ENCODED.findall(uri):
        raw = unquote_to_bytes(run)
        if _NEVER_ENCODED & set(raw) or any(byte < 0x20 or byte == 0x7F for byte in raw):
            raise _ambiguous()
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            raise _ambiguous() from None
    key, slash, rest = uri[1:].partition("/")
    if not slash or not key or not rest:
        raise Refusal("no_key", "not_found", 404, "the path is /<key>/<the provider's own path>")
    return key, "/" + rest


def _ambiguous() -> Refusal:
    return Refusal("path_ambiguous", "invalid_request", 400, "the path has more than one reading; send a plain one")
