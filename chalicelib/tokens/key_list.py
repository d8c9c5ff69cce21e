"""Which of our own signing keys are accepted, and which one signs: a list that administrators change, one step at a time.

A key is prepared, so that every verifier knows it before it signs; then it is activated; the one before it is retired once
no token of it can be alive. A tainted key is accepted by nobody from the next call on, and never comes back.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from chalicelib.audit import Event
from chalicelib.duration import words
from chalicelib.tokens.errors import (
    NoOtherSigningKey,
    NoSuchSigningKey,
    SigningKeyInUse,
    SigningKeyTainted,
    SigningKeyTooNew,
)
from chalicelib.tokens.issued import UNKNOWN_KID_PAUSE
from chalicelib.tokens.verify import TTL_CEILING

PREPARED_SECONDS: Final = UNKNOWN_KID_PAUSE
"""Seconds from a key's preparation until it may sign: an edge that does not know it reads the keys anew that often at most."""
RETIRED_SECONDS: Final = TTL_CEILING + 60
"""Seconds from a key's last signature until it may be retired: no token lives longer, and no exchange lasts a minute."""
MOST_TAINTED: Final = 16
"""Tainted keys that are remembered; the list is read with every call. Beyond them the oldest is forgotten."""

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class SigningKeyList(NamedTuple):
    """The list. Keys are named by `kid`; times are epoch seconds."""

    live: tuple[str, ...] = ()
    """Those whose tokens are accepted, the oldest first."""
    signs: str = ""
    """The live one that signs; "" for the one that the broker is configured with."""
    prepared: Mapping[str, int] = _NOTHING
    """Since when a live key is one, as far as it is known."""
    stopped: Mapping[str, int] = _NOTHING
    """Since when a live key signs no more, of those that have signed, or may have."""
    tainted: Mapping[str, int] = _NOTHING
    """Since when a key is tainted."""

    @classmethod
    def from_text(cls, text: str) -> SigningKeyList:
        """Read the stored text; one that lists live keys alone, as earlier versions wrote it, is one, too."""
        stored = json.loads(text)
        times = {name: dict(stored.get(name, {})) for name in ("prepared", "stopped", "tainted")}
        return cls(tuple(stored["signing"]), stored.get("signs", ""), **times)

    def to_text(self) -> str:
        """Return the text that is stored for `everything`; `policy.stored.read_signing_keys` reads the live ones of it."""
        times = {name: dict(getattr(self, name)) for name in ("prepared", "stopped", "tainted")}
        told = {"signs": self.signs, **times}
        return json.dumps({"signing": list(self.live), **{name: value for name, value in told.items() if value}})

    def status(self, kid: str) -> str:
        """Return `signing`, `live`, `tainted` or `published`; `live` for several of which none is named as signing."""
        if kid in self.tainted:
            return "tainted"
        if kid not in self.live:
            return "published"
        return "signing" if kid == self.signs or self.live == (kid,) else "live"

    def listing(self, live: tuple[str, ...]) -> SigningKeyList:
        """Return the list with exactly these live, as a deployment says; what else is known of keys stays."""
        prepared, stopped = (
            {kid: at for kid, at in times.items() if kid in live} for times in (self.prepared, self.stopped)
        )
        tainted = {kid: at for kid, at in self.tainted.items() if kid not in live}
        return SigningKeyList(live, self.signs if self.signs in live else "", prepared, stopped, tainted)

    def only(self, live: tuple[str, ...]) -> SigningKeyList:
        """Return the list with these live instead of all others, the last of them signing; what is tainted stays so."""
        return SigningKeyList(live, live[-1], tainted=self.tainted)

    def prepare(self, kid: str, now: int) -> SigningKeyList:
        """List a key as live, so that it may sign soon. One that is live already stays as it is. Raises SigningKeyTainted."""
        # SECURITY: who has a tainted key could sign with it again (test_a_tainted_key_never_comes_back).
        if kid in self.tainted:
            raise SigningKeyTainted
        if kid in self.live:
            return self
        return self._replace(live=(*self.live, kid), prepared={**self.prepared, kid: now})

    def activate(self, kid: str, now: int) -> SigningKeyList:
        """Let a live key sign from the next token on. Raises NoSuchSigningKey, SigningKeyTainted or SigningKeyTooNew."""
        self._check_live(kid)
        left = self.prepared.get(kid, 0) + PREPARED_SECONDS - now
        if left > 0:
            raise SigningKeyTooNew(f"every edge knows it in {words(left)}; activate it then", retry_after=left)
        return self if kid == self.signs else self._signing_with(kid, now)

    def taint(self, kid: str, now: int) -> SigningKeyList:
        """Accept no token of a key any more; the newest other one signs if this one did, or may have.

        Raises NoOtherSigningKey if none would be left, NoSuchSigningKey for one that is not live. A tainted one stays so.
        """
        if kid in self.tainted:
            return self
        self._check_live(kid)
        others = [one for one in self.live if one != kid]
        if not others:
            raise NoOtherSigningKey
        tainted = {**self.tainted, kid: now}
        newest = dict(sorted(tainted.items(), key=lambda one: one[1])[-MOST_TAINTED:])
        then = self if self.signs in others else self._signing_with(others[-1], now)
        return _without(then, kid)._replace(tainted=newest)

    def retire(self, kid: str, now: int) -> SigningKeyList:
        """Stop to accept a key of which no token can be alive. Raises NoSuchSigningKey, SigningKeyTainted or SigningKeyInUse."""
        self._check_live(kid)
        if kid == self.signs or not self.signs:
            raise SigningKeyInUse("it signs, or may: activate another one first")
        left = self.stopped.get(kid, now - RETIRED_SECONDS) + RETIRED_SECONDS - now
        if left > 0:
            raise SigningKeyInUse(
                f"its last token ends in {words(left)}; retire it then, or taint it", retry_after=left
            )
        return _without(self, kid)

    def _check_live(self, kid: str) -> None:
        if kid in self.tainted:
            raise SigningKeyTainted
        if kid not in self.live:
            raise NoSuchSigningKey

    def _signing_with(self, kid: str, now: int) -> SigningKeyList:
        """Return the list with this one signing. The one before it has stopped now; any may be that if none is named."""
        ended = [one for one in self.live if one != kid and self.signs in (one, "")]
        stopped = {**self.stopped, **dict.fromkeys(ended, now)}
        stopped.pop(kid, None)
        return self._replace(signs=kid, stopped=stopped)


class SigningKeyLists(Protocol):
    """Where the list is kept. Methods raise Unavailable."""

    def signing_key_list(self) -> SigningKeyList:
        """Return the list as it is."""

    def change_signing_keys(self, before: SigningKeyList, after: SigningKeyList, event: Event) -> None:
        """Put a list in force in place of `before`, in one transaction with its event; acknowledged means in force.

        Raises SigningKeysChanged, and nothing was changed, if another one is in force by now.
        """


class SigningKeyStore(Protocol):
    """Where the keys themselves are, or at least their public halves. Methods raise Unavailable."""

    def published(self) -> Sequence[str]:
        """Return the `kid`s of all keys that verifiers can find, the oldest first where that is known."""

    def spare(self, known: frozenset[str]) -> str:
        """Return the `kid` of a key that is none of `known`, made if keys can be made here.

        Raises NoSpareSigningKey, and MalformedRequest where which of several is meant cannot be told.
        """

    def keep_only(self, kids: Collection[str]) -> None:
        """Delete the private halves of all others where they can be deleted here; nothing otherwise, nor if none would be left."""

    def alone(self) -> AbstractContextManager[None]:
        """Within it nobody else makes or deletes keys, in any process: what lists them is read and changed within it, too."""


def _without(keys: SigningKeyList, kid: str) -> SigningKeyList:
    return keys._replace(
        live=tuple(one for one in keys.live if one != kid),
        prepared={one: at for one, at in keys.prepared.items() if one != kid},
        stopped={one: at for one, at in keys.stopped.items() if one != kid},
    )
