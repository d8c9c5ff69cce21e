"""The path of a call: which key it is for, the provider's own form of it, and whether a scope opens it."""

from __future__ import annotations

import functools
import re
import unicodedata
from urllib.parse import unquote_to_bytes

from chalicelib import patterns
from chalicelib.errors import Refusal
from chalicelib.providers.entry import PathForms, Provider
from chalicelib.providers.errors import NoKey, PathAmbiguous
from chalicelib.providers.presets import PROVIDERS

# SECURITY: the form that is checked is the form that is sent on. What a provider might read differently is refused:
# dot segments, empty segments, and `;`, `\\`, separators or plain characters in percent-encoding
# (test_paths.py: `%3A` would carry a `:` past a pattern, `%2e%2e` would climb).
_PLAIN = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})*)+")
_ENCODED = re.compile(r"(?:%[0-9A-F]{2})+")
_NEVER_ENCODED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/\\:;%?#")
# Windows drops dots and spaces at the end of a name; others drop spaces at both ends.
_TRIMMED = re.compile(r"(?:^|[/:])%20|(?:\.|%20)(?=[/:]|$)")


def split(uri: str) -> tuple[str, str]:
    """Return the key's name and the path after it, of `/<key>/<path>`; raises PathAmbiguous or NoKey."""
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
    """Whether only what must be is percent-encoded, and stands for printable text in Unicode's normal form NFKC."""
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


def is_closed(provider: Provider, path: str) -> bool:
    """Whether a path in the provider's own form is closed or below a closed one, so that no grant opens it."""
    # SECURITY: in any spelling that some server takes for the same: by capitals, `authTokens` for `auth_tokens`, or with a
    # verb behind `:` (test_closed_in_every_spelling).
    return _closed_pattern(provider.closed).match(path.lower()) is not None


@functools.cache
def _closed_pattern(paths: tuple[str, ...]) -> re.Pattern[str]:
    """Return one pattern for all of these paths and what is below them, since every call is matched with it."""
    every = ("/".join(_spellings(segment) for segment in path.lower().split("/")) for path in paths)
    return re.compile(rf"(?:{'|'.join(every)})(?:/|\Z)" if paths else r"(?!)")


def _spellings(segment: str) -> str:
    return "[^/]*" if segment == "*" else "[-_]?".join(map(re.escape, re.split("[-_]", segment))) + "(?::[^/]*)?"


def scope_value(method: str, path: str) -> str:
    """Return the text that scopes are matched with: `METHOD:/path`."""
    return f"{method}:{path}"


def scope_opens(scope: tuple[str, ...], method: str, path: str) -> bool:
    """Whether a scope opens a method and a path in the provider's own form."""
    return patterns.covered((scope_value(method, path),), scope)


def scope_may_open(scope: tuple[str, ...], method: str, path: str) -> bool:
    """Whether a scope opens a method and a path, as a client wrote it, at some provider.

    Only state knows which provider a key is for; a call that no provider would open is refused without asking it.
    """
    return scope_opens(scope, method, path) or any(scope_opens(scope, method, form) for form in _provider_forms(path))


def _provider_forms(path: str) -> set[str]:
    """Return what each provider would make of a path."""
    found = set()
    for forms in _ALL_FORMS:
        try:
            found.add(to_provider_form(path, forms))
        except Refusal:
            continue  # that provider would refuse it
    return found


_ALL_FORMS = frozenset(provider.paths for provider in PROVIDERS.values())
