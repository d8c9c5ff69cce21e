"""The headers of a call: which of them go on to the provider, each as it was sent."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from chalicelib.edge.errors import HeaderName, MethodOverride, NoWebSocket
from chalicelib.providers import header_names, paths
from chalicelib.providers.header_names import TOKEN_HEADERS, canonical
from chalicelib.providers.keys import LISTS, ProviderKey

EventHeaders = Mapping[str, list[dict[str, str]]]
"""CloudFront's form: lower-case name -> every value, each with the name as it was sent."""

_OAUTH_FLAG = "oauth-2025-04-20"
"""Anthropic's SDK sets it beside an exchanged token; with a real key it does not belong there."""
_BETA = "anthropic-beta"
_OF_A_HANDSHAKE = frozenset({"sec-websocket-key", "sec-websocket-version"})
"""Headers without which no server opens a WebSocket (RFC 6455, section 4.2.1). `Upgrade` may ask for something else."""
_KEPT = 256
"""Sets of names whose properties are remembered: a client sends the same names with every call."""


class Headers(NamedTuple):
    """Headers in order, those of one name together; what belongs together is at the same place of all three."""

    names: tuple[str, ...] = ()
    """In lower case."""
    sent: tuple[str, ...] = ()
    """The names as they were sent."""
    values: Sequence[str] = ()

    @classmethod
    def from_event(cls, headers: EventHeaders) -> Headers:
        """Read CloudFront's form; raises KeyError, TypeError or AttributeError for anything else."""
        found = [(name, one.get("key", name), one["value"]) for name, values in headers.items() for one in values]
        # SECURITY: what cannot be sent on is found before it is counted (test_a_malformed_header_counts_nothing).
        if not all(isinstance(text, str) for one in found for text in one):
            raise TypeError
        return cls(*map(tuple, zip(*found, strict=True))) if found else cls()

    def to_event(self) -> dict[str, list[dict[str, str]]]:
        """Return CloudFront's form."""
        found: dict[str, list[dict[str, str]]] = {}
        for name, sent, value in zip(*self, strict=True):
            found.setdefault(name, []).append({"key": sent, "value": value})
        return found

    def all(self, name: str) -> list[str]:
        """Return the values of a name in lower case."""
        return [self.values[place] for place in _places(self.names, name)]

    def tokens(self) -> list[tuple[str, str]]:
        """Return name, in the form in which names are compared, and value of each header that may hold a token."""
        return [(name, self.values[place]) for place, name in _token_places(self.names)]


def check(headers: Headers, method: str) -> None:
    """Raise HeaderName if a name is none, MethodOverride if a header names another method than the request's.

    Raises NoWebSocket where CloudFront, or any other door that does not say so by the method, would open one.
    """
    overrides, has_handshake = _checked(headers.names, headers.sent)
    # SECURITY: a scope that reads would open a conversation (test_a_handshake_by_get_is_refused).
    if has_handshake and method != paths.WEB_SOCKET:
        raise NoWebSocket
    # SECURITY: a scope is for a method; a call that the provider would take for another method is not sent
    # (test_method_override).
    if any(headers.values[place].strip().upper() != method for place in overrides):
        raise MethodOverride("a header")


def forwarded(headers: Headers, key: ProviderKey, host: str, token: str) -> Headers:
    """Return the headers to send on: the caller's, with another `Host` in its place, and the key's header behind them.

    None of the caller's that goes on carries the token or could, spoofs an address, concerns this hop only, or may be
    taken for the key's.
    """
    going = _sent_on(headers.names, headers.sent, key.header)
    values = [headers.values[place] for place in going.places]
    text = "\n".join(values)
    values.insert(going.host, host)
    values.append(key.reveal())
    found = Headers(going.names, going.sent, values)
    if going.is_hop_named or _OAUTH_FLAG in text or token in text:
        found = _without(found, going.host, token, headers.all("connection"))
    return _with(found, key.beside) if key.beside else found


def _with(headers: Headers, beside: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers with those that go beside the key, which is the last of them and stays."""
    rows = list(zip(*headers, strict=True))
    for name, value in beside:
        kept = [row for row in rows[:-1] if canonical(row[0]) == name]
        # SECURITY: a caller does not say in whose name or at whose cost a call is made (test_what_goes_beside_a_key).
        rows = [row for row in rows[:-1] if canonical(row[0]) != name] + rows[-1:]
        own = [row[2] for row in kept] if name in LISTS else []
        if value:
            rows.insert(-1, (name, name, ",".join([*own, value])))
    return Headers(*map(tuple, zip(*rows, strict=True)))


def _without(headers: Headers, host: int, token: str, connection: Iterable[str]) -> Headers:
    """Return the headers without what a few of them may not say, or may not be sent for; `host` and the key's stay."""
    named = {canonical(name.strip()) for value in connection for name in value.split(",")}
    kept, key = [], len(headers.names) - 1
    for place, (name, sent, value) in enumerate(zip(*headers, strict=True)):
        left = _without_oauth_flag(value) if canonical(name) == _BETA and place != key else value
        is_fixed = place in (host, key) or name in header_names.READ_ONLY
        # SECURITY: a cookie or a referrer may hold the token as well (test_token_in_another_header).
        if left is not None and (is_fixed or (canonical(name) not in named and token not in left)):
            kept.append((name, sent, left))
    return Headers(*map(tuple, zip(*kept, strict=True)))


class _Going(NamedTuple):
    """What goes on of some headers."""

    places: tuple[int, ...]
    """Where those are among all that came."""
    host: int
    """Where `Host` is among all that are sent."""
    names: tuple[str, ...]
    """Of all that are sent: `Host` and the key's, too."""
    sent: tuple[str, ...]
    is_hop_named: bool
    """Whether `Connection` may name others that do not go on."""


@functools.lru_cache(maxsize=_KEPT)
def _sent_on(names: tuple[str, ...], sent: tuple[str, ...], key_header: str) -> _Going:
    """Return what may go on beside a key's header."""
    # SECURITY: a server that joins what it takes for one header would join our key with what a caller sent, and may
    # quote both (test_one_header_in_every_spelling).
    places = tuple(
        place
        for place, name in enumerate(names)
        if name != "host"
        and not header_names.is_dropped(name)
        and (canonical(name) != canonical(key_header) or name in header_names.READ_ONLY)
    )
    host = sum(place < names.index("host") for place in places) if "host" in names else len(places)
    kept, as_sent = [names[place] for place in places], [sent[place] for place in places]
    kept.insert(host, "host")
    as_sent.insert(host, "Host")
    return _Going(places, host, (*kept, key_header), (*as_sent, key_header), "connection" in names)


@functools.lru_cache(maxsize=_KEPT)
def _checked(names: tuple[str, ...], sent: tuple[str, ...]) -> tuple[tuple[int, ...], bool]:
    """Return the places of headers that may name a method, and whether any is of a handshake; raises HeaderName."""
    if not all(map(header_names.is_name, names + sent)):
        raise HeaderName
    overrides = tuple(place for place, name in enumerate(names) if header_names.overrides_method(name))
    return overrides, not _OF_A_HANDSHAKE.isdisjoint(names)


@functools.lru_cache(maxsize=_KEPT)
def _token_places(names: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    # SECURITY: a token header in another spelling is one, so that two tokens never pass for one (test_spelled_twice).
    known = ((place, canonical(name)) for place, name in enumerate(names))
    return tuple((place, name) for place, name in known if name in TOKEN_HEADERS)


@functools.lru_cache(maxsize=2 * _KEPT)
def _places(names: tuple[str, ...], name: str) -> tuple[int, ...]:
    return tuple(place for place, one in enumerate(names) if one == name)


def _without_oauth_flag(value: str) -> str | None:
    """Remove one flag from a value of `anthropic-beta`, and leave the rest as it was sent; None if nothing is left."""
    flags = value.split(",")
    left = [flag for flag in flags if flag.strip() != _OAUTH_FLAG]
    if len(left) == len(flags):
        return value
    return ",".join(left).strip() if any(flag.strip() for flag in left) else None
