"""The path of a call: which key it is for, the provider's own form of it, and whether a scope opens it.

An encoded slash (`%2F`) has two readings, a character of its segment and a separator, and a provider's is not known:
closed is what is closed in either, and open what is open in both (docs/adr/0007-two-readings.md).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from chalicelib import patterns
from chalicelib.errors import Refusal
from chalicelib.providers.entry import EncodedSlash, PathForms, Provider
from chalicelib.providers.errors import NoKey, PathAmbiguous
from chalicelib.providers.presets import PROVIDERS

# SECURITY: the form that is checked is the form that is sent on. What a provider might read differently is refused: dot
# segments, empty segments, `;`, `\\`, `?`, `#`, `%` and letters in percent-encoding (test_paths.py: `%2e%2e` would climb).
_PLAIN = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})*)+")
_ENCODED = re.compile(r"(?:%[0-9A-F]{2})+")
_NEVER_ENCODED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~\\;%?#")
# Windows drops dots and spaces at the end of a name; others drop spaces at both ends.
_TRIMMED = re.compile(r"/%20|(?:\.|%20)(?=[/:]|$)")


def split(uri: str) -> tuple[str, str]:
    """Return the key's name and the path after it, of `/<key>/<path>`; raises PathAmbiguous or NoKey."""
    # SECURITY: dots, spaces and empty segments are looked for between encoded separators, too (test_hidden_segments).
    decoded = patterns.canonical(patterns.decoded(uri))
    if not _PLAIN.fullmatch(uri) or (decoded != "/" and "" in decoded[1:].removesuffix("/").split("/")):
        raise PathAmbiguous
    if ("." in uri or "%" in uri) and _TRIMMED.search(decoded):
        raise PathAmbiguous
    if "%" in uri and not _has_one_text(uri):
        raise PathAmbiguous
    key, slash, rest = uri[1:].partition("/")
    if "%" in key:
        raise PathAmbiguous
    if not slash or not key or not rest:
        raise NoKey
    return key, "/" + rest


def _has_one_text(uri: str) -> bool:
    """Whether no letter is percent-encoded, and all is printable text in Unicode's normal form NFKC."""
    if any(_NEVER_ENCODED & set(unquote_to_bytes(run)) for run in _ENCODED.findall(uri)):
        return False
    try:
        text = unquote_to_bytes(uri).decode("utf-8")
    except UnicodeDecodeError:
        return False
    # SECURITY: a server that normalises would make `..` of two full-width dots (test_paths.py).
    return text.isprintable() and unicodedata.normalize("NFKC", text) == text


@functools.lru_cache(maxsize=256)
def to_provider_form(path: str, forms: PathForms) -> str:
    """Return a path as the provider itself writes it; raises PathAmbiguous if that could be mapped again."""
    found = _mapped(path, forms)
    # SECURITY: of two spellings of one path only one may be left, or a closed path would be open under the other
    # (test_mapped_twice); and a beginning with an encoded slash is mapped as it would be without (test_encoded_beginning).
    if any(_mapped(one, forms) != one for one in (found, patterns.decoded(found))):
        raise PathAmbiguous
    if _mapped(patterns.decoded(path), forms) != patterns.decoded(found):
        raise PathAmbiguous
    return found


def _mapped(path: str, forms: PathForms) -> str:
    for theirs, form in forms:
        if path == theirs or path.startswith(theirs + "/"):
            return form + path.removeprefix(theirs) or "/"
    return path


def readings(provider: Provider | None, path: str) -> tuple[str, ...]:
    """Return what a provider may read in a path of its own form: one canonical path, or two, which both have to be open.

    provider: None if it is not known.
    """
    sent = patterns.canonical(path)
    if patterns.SLASH not in path:
        return (sent,)
    for one in provider.encoded_slashes if provider else ():
        pattern, below = _slash_patterns(one)
        if pattern.match(sent):
            # SECURITY: what is another endpoint in the other reading needs both (test_no_endpoint_below_a_parameter).
            return (
                (sent, patterns.decoded(sent))
                if below.search(sent)
                else (patterns.decoded(sent) if one.is_separator else sent,)
            )
    return sent, patterns.decoded(sent)


@functools.cache
def _slash_patterns(one: EncodedSlash) -> tuple[re.Pattern[str], re.Pattern[str]]:
    # The segments before the parameter have no encoded slash, or they would be others in the other reading.
    start = "/".join("[^/%]+" if segment == "*" else re.escape(segment) for segment in one.path.split("/"))
    names = "|".join(map(re.escape, one.below.split()))
    return re.compile(f"{start}/"), re.compile(
        f"{patterns.SLASH}(?:{names})(?:/|{patterns.SLASH}|$)" if names else "(?!)", re.IGNORECASE
    )


def is_closed(provider: Provider, path: str) -> bool:
    """Whether a path in the provider's own form is closed or below a closed one, so that no grant opens it."""
    # SECURITY: in any spelling that some server takes for the same: by capitals, `authTokens` for `auth_tokens`, with a verb
    # behind `:`, or in either reading of an encoded slash (test_closed_in_every_spelling, test_nothing_closed_is_open).
    return _is_in_closed(provider.closed, path)


@functools.lru_cache(maxsize=256)
def _is_in_closed(paths: tuple[str, ...], path: str) -> bool:
    closed, sent = _closed_tree(paths), patterns.canonical(path)
    return any(_is_below(closed, one.lower()) for one in {sent, patterns.decoded(sent)})


_Tree = dict[str, "_Tree"]
_END = "/"
"""What no segment can be: a closed path ends there."""


@functools.cache
def _closed_tree(paths: tuple[str, ...]) -> _Tree:
    """Return paths as a tree of their segments in every spelling. To compile a pattern of them would take a cold start ms."""
    tree: _Tree = {}
    for path in paths:
        ends = [tree]
        for segment in path.lower().split("/"):
            ends = [end.setdefault(one, {}) for end in ends for one in _spellings(segment)]
        for end in ends:
            end[_END] = {}
    return tree


def _is_below(tree: _Tree, path: str) -> bool:
    """Whether a path is one of a tree's, or below one."""
    places = [tree]
    for segment in path.split("/"):
        name = segment.partition(":")[0]
        places = [place[one] for place in places for one in (name, "*") if one in place]
        if any(_END in place for place in places):
            return True
    return False


def _spellings(segment: str) -> list[str]:
    """Return a segment with `-`, `_` or nothing between its words."""
    first, *words = segment.replace("-", "_").split("_")
    found = [first]
    for word in words:
        found = [f"{start}{mark}{word}" for start in found for mark in ("", "-", "_")]
    return found


WEB_SOCKET = "WEBSOCKET"
"""What scopes have for a method where a call asks for a WebSocket. No request has it: its handshake is a GET."""


def scope_value(method: str, path: str) -> str:
    """Return the text that scopes are matched with: `METHOD:/path`."""
    return f"{method}:{path}"


def scope_opens(scope: tuple[str, ...], method: str, path: str, provider: Provider | None = None) -> bool:
    """Whether a scope opens a method and a path in the provider's own form, in every reading; provider: as `readings`."""
    return unopened(scope, method, path, provider) is None


def unopened(scope: tuple[str, ...], method: str, path: str, provider: Provider | None = None) -> str | None:
    """Return a reading of the path that a scope does not open, None if it opens all; otherwise as `scope_opens`."""
    known, verbs = tuple(map(patterns.canonical, scope)), provider is None or provider.verbs
    for reading in readings(provider, path):
        value = scope_value(method, reading)
        if not any(patterns.scope_matches(one, value, verbs=verbs) for one in known):
            is_named = patterns.SLASH in path and any(_names_both(one, method, path, verbs=verbs) for one in known)
            return None if is_named else reading
    return None


def _names_both(scope: str, method: str, path: str, *, verbs: bool) -> bool:
    """Whether a scope that itself has an encoded slash opens a call that has it there, and so in both readings."""
    sent = scope_value(method, patterns.canonical(path))
    pairs = ((scope, sent), (patterns.decoded(scope), patterns.decoded(sent)))
    return patterns.SLASH in scope and all(patterns.scope_matches(*pair, verbs=verbs) for pair in pairs)


def scope_within(wanted: str, scope: tuple[str, ...], provider: Provider) -> bool:
    """Whether a caller may narrow a scope to `wanted`, one `METHOD:/path` or a pattern of them."""
    if "*" in wanted:
        return patterns.scope_covered((wanted,), scope, verbs=provider.verbs)
    method, _, path = wanted.partition(":")
    return scope_opens(scope, method, path, provider)


@functools.lru_cache(maxsize=256)
def scope_may_open(scope: tuple[str, ...], method: str, path: str) -> bool:
    """Whether a scope opens a method and a path, as a client wrote it, at some provider.

    Only state knows which provider a key is for; a call that no provider would open is refused without asking it.
    """
    known = {form for one in scope for form in (patterns.canonical(one), patterns.canonical(patterns.decoded(one)))}
    for form in _forms(path):
        values = {scope_value(method, patterns.canonical(one)) for one in (form, patterns.decoded(form))}
        if any(patterns.scope_matches(one, value, verbs=False) for one in known for value in values):
            return True
    return False


def _forms(path: str) -> Iterator[str]:
    """Yield a path as it is, which nearly every call writes as its provider does, and then what each would make of it."""
    yield path
    for forms in _ALL_FORMS:
        try:
            form = to_provider_form(path, forms)
        except Refusal:
            continue  # that provider would refuse it
        yield form


_ALL_FORMS = frozenset(provider.paths for provider in PROVIDERS.values())
