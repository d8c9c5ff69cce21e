"""The path of a call: which key it is for, and the provider's own path in the one form that scopes are matched with."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from chalicelib.providers.entry import PathForms
from chalicelib.providers.errors import NoKey, PathAmbiguous

# SECURITY: the form that is checked is the form that is sent on. What a provider might read differently is refused:
# dot segments, empty segments, and `;`, `\\`, separators or plain characters in percent-encoding
# (test_paths.py: `%3A` would carry a `:` past a pattern, `%2e%2e` would climb).
_PLAIN = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})*)+")
_ENCODED = re.compile(r"(?:%[0-9A-F]{2})+")
_NEVER_ENCODED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/\\:;%?#")
# Windows drops dots and spaces at the end of a name; others drop spaces at both ends.
_TRIMMED = re.compile(r"(?:^|[/:])%20|(?:\.|%20)(?=[/:]|$)")


def split(uri: str) -> tuple[str, str]:
    """Return the key's name and the path behind it, of `/<key>/<path>`; raises PathAmbiguous or NoKey."""
    segments = uri[1:].removesuffix("/").split("/")
    if not _PLAIN.fullmatch(uri) or (uri != "/" and "" in segments):
        raise PathAmbiguous
    if ("." in uri or "%" in uri) and _TRIMMED.search(uri):
        raise PathAmbiguous
    if "%" in uri and not _has_one_reading(uri):
        raise PathAmbiguous
    key, slash, rest = uri[1:].partition("/")
    if not slash or not key or not rest:
        raise NoKey
    return key, "/" + rest


def _has_one_reading(uri: str) -> bool:
    """Whether what is percent-encoded must be, and stands for printable text in the one form that Unicode has for it."""
    if any(_NEVER_ENCODED & set(unquote_to_bytes(run)) for run in _ENCODED.findall(uri)):
        return False
    try:
        text = unquote_to_bytes(uri).decode("utf-8")
    except UnicodeDecodeError:
        return False
    # SECURITY: a server that normalises would make `..` of two full-width dots (test_paths.py).
    return text.isprintable() and unicodedata.normalize("NFKC", text) == text


def to_provider_form(path: str, forms: PathForms) -> str:
    """Return a path as the provider itself writes it; raises PathAmbiguous if that could be mapped again."""
    found = _mapped(path, forms)
    # SECURITY: of two spellings of one path only one may be left, or a closed path would be open under the other
    # (test_mapped_twice).
    if _mapped(found, forms) != found:
        raise PathAmbiguous
    return found


def _mapped(path: str, forms: PathForms) -> str:
    for theirs, form in forms:
        if path == theirs or path.startswith(theirs + "/"):
            return form + path.removeprefix(theirs) or "/"
    return path
