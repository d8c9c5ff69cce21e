"""Renews the credentials of federated keys at half their lives: mint, store the value, put it in force, each safe to be cut off after.

Two minters at once are harmless: of two values one comes into force, and the other is used by nobody and ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from chalicelib.audit import Audit, Event
from chalicelib.errors import Refusal
from chalicelib.federation.exchange import Means, Minted, MintError
from chalicelib.federation.federations import MINTS
from chalicelib.federation.notes import MintNote, MintNotes, Trial, pause
from chalicelib.providers.errors import KeyChanged, KeyNotFederated
from chalicelib.providers.federated import origin
from chalicelib.providers.keys import MINTED, ProviderKey, ProviderKeyStore
from chalicelib.providers.origins import Origins
from chalicelib.providers.presets import PROVIDERS
from chalicelib.providers.versions import KeyInfo, Keys, KeyVersion

ACTOR: Final = "minter"
"""Who is named in the audit."""
RENEWED, SUPERSEDED = "minted", "superseded"


class MeansOf(Protocol):
    """Makes the means of a key. jti: is told the id of each assertion that is made."""

    def __call__(self, info: KeyInfo, jti: Callable[[str], None]) -> Means:
        """Return them; raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Minter:
    """Everything that minting needs, and nothing of what signs callers' tokens."""

    keys: Keys
    store: ProviderKeyStore
    notes: MintNotes
    audit: Audit
    means: MeansOf
    origins: Origins
    clock: Callable[[], int]
    new_id: Callable[[], str]

    def renew_due(self) -> dict[str, str]:
        """Renew what is due; return the outcome by key: RENEWED, SUPERSEDED, or why not. Raises Unavailable.

        What goes wrong with one key keeps nothing from the others, and is due again.
        """
        now, notes, outcomes = self.clock(), self.notes.mint_notes(), {}
        for info in self.keys.known_keys():
            if not is_due(info, notes.get(info.name), now):
                continue
            try:
                outcomes[info.name] = self._renew(info, notes.get(info.name))
            except Refusal as refusal:
                # Noted, too: otherwise a provider would be asked at every look for what cannot be kept.
                self._failed(info, MintError(refusal.reason), notes.get(info.name))
                outcomes[info.name] = refusal.reason
        return outcomes

    def try_once(self, info: KeyInfo) -> Trial:
        """Mint and keep nothing; raises KeyNotFederated, Unavailable."""
        try:
            minted = self._mint(info, lambda _jti: None)
        except MintError as fault:
            return Trial(0, fault.problem, fault.denied, fault.request_id)
        return Trial(minted.expires, request_id=minted.request_id)

    def _mint(self, info: KeyInfo, jti: Callable[[str], None]) -> Minted:
        if info.federated is None:
            raise KeyNotFederated
        return MINTS[info.provider](info.federated, self.means(info, jti), self.clock())

    def _renew(self, info: KeyInfo, noted: MintNote | None) -> str:
        ids: list[str] = []
        try:
            minted = self._mint(info, ids.append)
        except MintError as fault:
            self._failed(info, fault, noted)
            return fault.problem
        version = f"{MINTED}{self.new_id()}"
        provider, now = PROVIDERS[info.provider], self.clock()
        # SECURITY: to an address of the table or of the policy's ids, and none that a provider's answer names
        # (test_an_answer_names_no_address).
        where = self.origins.choose(
            None if self.origins.practice else origin(info.provider, info.federated or {}), provider
        )
        key = ProviderKey(version, where, "authorization", "Bearer ", minted.value, minted.expires, minted.beside)
        # The value first: the edge must never look up a version that is not stored yet.
        self.store.put(info.name, key)
        # SECURITY: a value that was set before is not kept to go back to: nothing static is left to steal
        # (test_the_static_value_is_gone).
        made = KeyVersion(
            version,
            where,
            key.header,
            ACTOR,
            now,
            key.prefix,
            info.provider,
            expires=minted.expires,
            minted_for=digest(info),
        ).after(info.current if info.current and info.current.minted_for else None)
        detail = {"version": version, "origin": where, "expires": str(minted.expires), "request": minted.request_id}
        event = self._event("key.minted", info, {**detail, "assertion": ids[-1] if ids else ""})
        try:
            self.keys.set_key(info.name, made, event, info.current.version if info.current else "")
        except KeyChanged:
            return SUPERSEDED
        if noted is not None:
            self.notes.note_mint(info.name, None)
        return RENEWED

    def _failed(self, info: KeyInfo, fault: MintError, noted: MintNote | None) -> None:
        now, failures = self.clock(), (noted.failures if noted else 0) + 1
        wait = pause(failures, denied=fault.denied, retry_after=fault.retry_after)
        if fault.denied and (noted is None or noted.problem != fault.problem):
            self._record_denial(info, fault)  # before the note, with which it would not be recorded again
        note = MintNote(info.name, now, fault.problem, fault.denied, failures, now + wait, fault.request_id)
        self.notes.note_mint(info.name, note)

    def _record_denial(self, info: KeyInfo, fault: MintError) -> None:
        """Record that a provider says no: once, and again when it says another."""
        detail = {"why": fault.problem, "request": fault.request_id}
        self.audit.record(self._event("key.mint_denied", info, detail))

    def _event(self, kind: str, info: KeyInfo, detail: Mapping[str, str]) -> Event:
        shown = {name: value for name, value in detail.items() if value}
        return Event(self.new_id(), self.clock(), kind, "", key=info.name, actor=ACTOR, detail=shown)


def is_due(info: KeyInfo, note: MintNote | None, now: int) -> bool:
    """Whether a credential is to be minted for a key. now: epoch seconds."""
    if info.federated is None or (note is not None and now < note.next_try):
        return False
    current = info.current
    if current is None or current.minted_for != digest(info):
        return True
    return now >= renewal(current)


def renewal(version: KeyVersion) -> int:
    """Return when a minted version is due to be renewed: at half its life, a tenth of it sooner or later.

    By its name, so that keys that were minted together are not renewed together.
    """
    life = version.expires - version.at
    part = hashlib.sha256(version.version.encode()).digest()[0] / 255
    return version.at + int(life * (0.45 + 0.1 * part))


def digest(info: KeyInfo) -> str:
    """Return what a version is minted for: another provider or other ids are due at once."""
    told = json.dumps([info.provider, sorted((info.federated or {}).items())])
    return hashlib.sha256(told.encode()).hexdigest()[:16]
