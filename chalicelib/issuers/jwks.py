"""Issuers' public keys over HTTPS: discovery and JWKS, cached with a soft and a hard age, asked for once at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import urlsplit

from chalicelib.issuers.errors import FetchError, IssuerKeysUnavailable, IssuerKeysUnusable
from chalicelib.issuers.fetch import get_json
from chalicelib.issuers.registry import Issuer, key_set_url_fault
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import Keys, VerifyingKey, chosen, key_set

__all__ = ["Jwks", "get_json"]

SOFT_AGE = 3600
"""Seconds after which a JWKS is fetched again."""
HARD_AGE = 24 * 3600
"""Seconds after which an issuer whose JWKS cannot be fetched is refused; a withdrawn key lives no longer."""
UNKNOWN_KID_PAUSE = 60
"""Seconds between fetches, whatever comes of them, so that made-up kids cannot hammer an issuer."""
FAILURE_PAUSE = 5
"""The same while there are no keys at all to go by, and every caller of the issuer is refused meanwhile."""
DEADLINE = 5.0
"""Seconds for an issuer's two documents together, from looking up its name to the last byte."""

_LASTING = frozenset({"discovery_of_another_issuer", "jwks_uri_malformed", "jwks_uri_scheme"})
"""Faults of a document that trying again does not mend, beside those of a key set that is of no use."""


class _Moment(NamedTuple):
    """A moment by both clocks: seconds since 1970, and seconds of a clock that nobody sets."""

    wall: int
    ticks: float

    def since(self, before: _Moment) -> float:
        """Return the seconds that have passed since another moment, by the clock that says more.

        SECURITY: keys that were fetched while the wall clock was ahead must not live longer for it
        (test_a_clock_that_was_ahead). The other clock may stand still while a function is frozen.
        """
        return max(self.wall - before.wall, self.ticks - before.ticks)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one issuer.

    tried: when the last try to fetch ended, and `pause`: seconds until the next
    failed: that try did not succeed, so a key may exist unseen
    cause: why it did not, a fixed word such as `too_slow`; "" if it did
    lasting: whether trying again does not mend that, since what the issuer answers is of no use
    """

    keys: Keys
    fetched: _Moment
    tried: _Moment
    pause: int
    failed: bool
    cause: str = ""
    lasting: bool = False


_NEVER = _Moment(-HARD_AGE, -HARD_AGE)
_NOTHING = _Known({}, _NEVER, _NEVER, 0, failed=False)


class Jwks:
    """Finds issuers' keys: `chalicelib.issuers.registry.KeySource`.

    fetch: gets a JSON document within so many seconds, or raises FetchError. loopback: lets issuers on this machine
    use http. deadline: seconds for an issuer's two documents together. ticks: a clock that nobody sets, in seconds.
    """

    def __init__(
        self,
        fetch: Callable[[str, float], object],
        *,
        loopback: bool = False,
        deadline: float = DEADLINE,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._ticks = ticks
        self._loopback = loopback
        self._deadline = deadline
        self._known: dict[tuple[str, tuple[str, ...]], _Known] = {}
        self._locks: dict[tuple[str, tuple[str, ...]], threading.Lock] = {}
        self._guard = threading.Lock()

    def find(self, issuer: Issuer, kid: str, alg: str, now: int) -> VerifyingKey:
        """See `KeySource.find`. Waits for at most one fetch, its own or another thread's: the deadline and a second."""
        if issuer.jwks is not None:
            return _uploaded(issuer, kid, alg)
        index = (issuer.url, issuer.algorithms)
        known, moment = self._known.get(index, _NOTHING), _Moment(now, self._ticks())
        key = _usable(known, kid, alg, moment)
        if key and moment.since(known.fetched) < SOFT_AGE:
            return key
        with self._guard:
            lock = self._locks.setdefault(index, threading.Lock())
        if not lock.acquire(timeout=0 if key else self._deadline + 1):
            if key:
                return key  # another thread is fetching; this key is still good
            raise IssuerKeysUnavailable(aws_code="too_slow")
        try:
            known = self._known.get(index, _NOTHING)
            if moment.since(known.tried) >= known.pause:
                known = self._known[index] = self._refreshed(known, issuer, moment)
        finally:
            lock.release()
        key = _usable(known, kid, alg, moment)
        if key:
            return key
        if known.lasting:
            raise IssuerKeysUnusable(aws_code=known.cause)
        if known.failed:
            raise IssuerKeysUnavailable(aws_code=known.cause)
        raise InvalidTokenError("kid_unknown")

    def _refreshed(self, known: _Known, issuer: Issuer, now: _Moment) -> _Known:
        started = time.monotonic()
        try:
            keys = key_set(self._key_document(issuer, started + self._deadline), issuer.algorithms, issuer.key_uses)
        except (FetchError, InvalidTokenError) as fault:
            pause = UNKNOWN_KID_PAUSE if now.since(known.fetched) < HARD_AGE else FAILURE_PAUSE
            # Counted from the end: a caller who waited for this try must not make the next one.
            ended = _Moment(now.wall + int(time.monotonic() - started) + 1, self._ticks())
            cause = str(fault)
            lasting = isinstance(fault, InvalidTokenError) or cause in _LASTING
            return replace(known, tried=ended, pause=pause, failed=True, cause=cause, lasting=lasting)
        if not keys:  # other keys than ours, and so none of the old ones is valid any longer
            return _Known(keys, now, now, FAILURE_PAUSE, failed=True, cause="no_usable_key", lasting=True)
        return _Known(keys, now, now, UNKNOWN_KID_PAUSE, failed=False)

    def _key_document(self, issuer: Issuer, ends: float) -> object:
        """Follow the issuer's discovery document (OpenID Connect Discovery 1.0, section 4)."""
        address = issuer.url.removesuffix("/") + "/.well-known/openid-configuration"
        document = self._fetch(address, ends - time.monotonic())
        uri = document.get("jwks_uri") if isinstance(document, dict) else None
        if not isinstance(document, dict) or document.get("issuer") != issuer.url:
            raise FetchError("discovery_of_another_issuer")
        if not isinstance(uri, str) or key_set_url_fault(uri, allow_loopback=self._loopback):
            raise FetchError("jwks_uri_malformed")
        # SECURITY: http is for issuers on this machine only, and such an issuer names keys on this machine only
        # (test_unsafe_jwks_uri).
        if urlsplit(uri).scheme != urlsplit(issuer.url).scheme:
            raise FetchError("jwks_uri_scheme")
        found = self._fetch(uri, ends - time.monotonic())
        # An issuer that is being set up or has broken, not one that says which of its keys are gone: tried again soon.
        if isinstance(found, dict) and found.get("keys") == []:
            raise FetchError("key_set_empty")
        return found


def _uploaded(issuer: Issuer, kid: str, alg: str) -> VerifyingKey:
    """Find a key among those that came with the policy, for an issuer that cannot be reached."""
    key = chosen(key_set(issuer.jwks, issuer.algorithms, issuer.key_uses), kid, alg)
    if key is None:
        raise InvalidTokenError("kid_unknown")
    return key


def _usable(known: _Known, kid: str, alg: str, now: _Moment) -> VerifyingKey | None:
    return chosen(known.keys, kid, alg) if now.since(known.fetched) < HARD_AGE else None
