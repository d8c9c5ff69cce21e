"""Renews the credentials of federated keys at half their lives: mint, store the value, put it in force, each safe to be cut off after.

Two minters at once are harmless: of two values one comes into force, and the other is used by nobody and ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from chalicelib.audit import Audit, Event
from chalicelib.errors import Refusal
from chalicelib.federation.exchange import Means, Minted, MintError
from chalicelib.federation.federations import MINTS
from chalicelib.federation.notes import Asked, MintNote, MintNotes, Trial, pause
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
            noted = notes.get(info.name)
            if not is_due(info, noted, now):
                continue
            try:
                outcomes[info.name] = self._renew(info, noted)
            except Refusal as refusal:
                # Noted, too: otherwise a provider would be asked at every look for what cannot be kept.
                self._failed(info, MintError(refusal.reason), noted)
                outcomes[info.name] = refusal.reason
        return outcomes

    def try_once(self, info: KeyInfo, asked: Asked) -> Trial:
        """Mint, keep nothing of it but an event, and end the pause of a key for which it works.

        Raises KeyNotFederated, Unavailable.
        """
        ids: list[str] = []
        try:
            minted = self._mint(info, ids.append)
        except MintError as fault:
            tried = Trial(0, fault.problem, fault.denied, fault.request_id)
        else:
            tried = Trial(minted.expires, request_id=minted.request_id)
        detail = {"why": tried.problem, "expires": str(tried.expires or ""), "request": tried.request_id}
        event = self._event("key.mint_tried", info, {**detail, "assertion": ids[-1] if ids else ""})
        # SECURITY: who mints records it, before anybody is told that it works (test_no_trial_without_its_event).
        self.audit.record(replace(event, actor=asked.actor, request_id=asked.request_id))
        noted = None if tried.problem else relevant(self.notes.mint_notes().get(info.name), info)
        if noted is not None:
            self.notes.end_pause(noted, self.clock())
        return tried

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
        made = self._version(info, minted)
        detail = {"version": made.version, "origin": made.origin, "expires": str(made.expires)}
        detail |= {"request": minted.request_id, "assertion": ids[-1] if ids else ""}
        try:
            self._put_in_force(info, made, minted, self._event("key.minted", info, detail))
        except Refusal as refusal:
            # It lives until its end, though nobody uses it, so that it is in the audit like any other.
            reason = SUPERSEDED if isinstance(refusal, KeyChanged) else refusal.reason
            self.audit.record(replace(self._event("key.minted", info, detail), reason=reason))
            if reason != SUPERSEDED:
                raise
            return SUPERSEDED
        if noted is not None:
            self.notes.note_mint(info.name, None)
        return RENEWED

    def _version(self, info: KeyInfo, minted: Minted) -> KeyVersion:
        # SECURITY: to an address of the table or of the policy's ids, and none that a provider's answer names
        # (test_an_answer_names_no_address).
        where = self.origins.choose(
            None if self.origins.practice else origin(info.provider, info.federated or {}), PROVIDERS[info.provider]
        )
        # SECURITY: a value that was set before is not kept to go back to: nothing static is left to steal
        # (test_the_static_value_is_gone).
        return KeyVersion(
            f"{MINTED}{self.new_id()}",
            where,
            "authorization",
            ACTOR,
            self.clock(),
            "Bearer ",
            info.provider,
            expires=minted.expires,
            minted_for=digest(info),
        ).after(info.current if info.current and info.current.minted_for else None)

    def _put_in_force(self, info: KeyInfo, made: KeyVersion, minted: Minted, event: Event) -> None:
        """Store a value and put it in force; raises KeyChanged if another version was in force meanwhile, Unavailable."""
        prefix = made.prefix or ""
        key = ProviderKey(made.version, made.origin, made.header, prefix, minted.value, minted.expires, minted.beside)
        # The value first: the edge must never look up a version that is not stored yet.
        self.store.put(info.name, key)
        self.keys.set_key(info.name, made, event, info.current.version if info.current else "")

    def _failed(self, info: KeyInfo, fault: MintError, noted: MintNote | None) -> None:
        now, before = self.clock(), relevant(noted, info)
        failures, since = (before.failures + 1, before.since) if before else (1, now)
        wait = pause(failures, denied=fault.denied, retry_after=fault.retry_after)
        if fault.denied and (before is None or before.problem != fault.problem):
            self._record_denial(info, fault)  # before the note, with which it would not be recorded again
        note = MintNote(
            info.name, now, fault.problem, fault.denied, failures, now + wait, fault.request_id, since, digest(info)
        )
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
    noted = relevant(note, info)
    if info.federated is None or (noted is not None and now < noted.next_try):
        return False
    current = info.current
    if current is None or current.minted_for != digest(info):
        return True
    return now >= renewal(current)


def relevant(note: MintNote | None, info: KeyInfo) -> MintNote | None:
    """Return a note if it is of the ids that the policy has now."""
    return note if note is not None and note.minted_for == digest(info) else None


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
