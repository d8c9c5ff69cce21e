"""Replaces a provider key: make the new one, prove it, put it in force, and after an overlap delete the one before.

The version in force works at the provider at every instant. Each step is one conditional write, and an attempt that is killed is
taken over: what it made at the provider is found by its name, and deleted, since its value is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.audit import Event
from chalicelib.errors import Refusal, StateUncertain, Unavailable
from chalicelib.providers.errors import KeyChanged
from chalicelib.providers.keys import ProviderKey, ProviderKeyStore, version_of_set
from chalicelib.providers.origins import Origins
from chalicelib.providers.presets import PROVIDERS
from chalicelib.providers.probing import KeyProbe, Probed
from chalicelib.providers.rotation import HELD_SECONDS, OVERLAP, Rotation
from chalicelib.providers.versions import KeyInfo, Keys, KeyVersion
from chalicelib.rotation.errors import NoRotation, NoVersionBefore, RotationBusy, RotationInForce
from chalicelib.rotation.lease import Leased
from chalicelib.rotation.management import CreatedKey, KeyManagement, ManagementError

PROOF_SECONDS = 12
"""For how long a provider may refuse a key that it has just made; all its machines must learn of it first."""

Record = Callable[[str, dict[str, str]], Event]
"""Makes the audit event of a kind, with its detail."""


@dataclass(frozen=True, slots=True)
class Rotator:
    """What replaces keys."""

    keys: Keys
    store: ProviderKeyStore
    probe: KeyProbe
    management: Callable[[KeyInfo], KeyManagement]
    """Makes what speaks to the provider; raises NoManagement, or Unavailable if its credential cannot be read."""
    origins: Origins
    prefix: str
    """Begins the names of our keys at providers: `keybroker/<installation>`."""
    clock: Callable[[], int]
    new_id: Callable[[], str]
    wait: Callable[[float], None]

    def begin(self, info: KeyInfo, wanted: Rotation, record: Record) -> KeyInfo:
        """Begin to replace a key, and return it as it is then; raises NoManagement, KeyChanged, Unavailable."""
        self.management(info)
        begun = replace(info, rotation=wanted)
        detail = {"rotation": wanted.id, "overlap": str(wanted.overlap), "leaked": str(wanted.leaked).lower()}
        self.keys.change_key(info, begun, record("key.rotation_begun", detail))
        return begun

    def advance(self, info: KeyInfo, record: Record) -> KeyInfo:
        """Do the step that is due, if one is, and return the key as it is then. A provider that fails is its `problem`.

        Raises NoRotation, RotationBusy, KeyChanged if a value was set meanwhile (the rotation has ended then), Unavailable.
        """
        now = self.clock()
        rotation = _rotation(info)
        if rotation.busy(now):
            raise RotationBusy
        if rotation.step == OVERLAP and now < rotation.ends:
            return info
        # SECURITY: one at a time, or the second would delete what the first has just made (test_two_at_once).
        taken = self._change(info, attempt=self.new_id(), held_until=now + HELD_SECONDS, problem="")
        try:
            return self._retire(taken, record) if rotation.step == OVERLAP else self._create(taken, record)
        except ManagementError as fault:
            return self._change(taken, attempt="", held_until=0, problem=fault.reason)
        except KeyChanged:
            self._end_of_another(taken, record)
            raise
        except Unavailable as fault:
            if not isinstance(fault, StateUncertain):
                with contextlib.suppress(Refusal):  # else it is free once `held_until` has passed
                    self._change(taken, attempt="", held_until=0, problem=fault.reason)
            raise

    def hasten(self, info: KeyInfo) -> KeyInfo:
        """Have a rotation under way be one after a leak: without an overlap, and without a way back; return the key.

        Raises NoRotation, KeyChanged, Unavailable.
        """
        ends = min(_rotation(info).ends, self.clock())
        return self._change(info, leaked=True, overlap=0, ends=ends)

    def roll_back(self, info: KeyInfo, record: Record) -> KeyInfo:
        """Put the version before in force again, and return the key; raises NoVersionBefore, RotationBusy, KeyChanged, Unavailable.

        In an overlap it is the new key that is deleted at its end.
        """
        rotation, now = info.rotation, self.clock()
        before = self.before(info)
        if rotation and rotation.busy(now):
            raise RotationBusy
        if rotation and rotation.step == OVERLAP and info.current and info.current.provider_key_id == rotation.key_id:
            ends = now + rotation.overlap
            rotation = replace(rotation, key_id=before.provider_key_id, retiring=rotation.key_id, ends=ends)
        back = replace(info, current=before.after(info.current), rotation=rotation)
        replaced = info.current.version if info.current else ""
        self.keys.change_key(info, back, record("key.rolled_back", {"version": before.version, "replaces": replaced}))
        return back

    def before(self, info: KeyInfo) -> KeyVersion:
        """Return the version to go back to; raises NoVersionBefore."""
        found = info.current.before if info.current else None
        # SECURITY: a value must not go to another provider, or to an origin that is not allowed any more
        # (test_nobody_goes_back_to_another_provider).
        if found is None or replace(info, current=found).kept(self.origins) is None:
            raise NoVersionBefore
        return found

    def abort(self, info: KeyInfo, record: Record) -> KeyInfo:
        """End a rotation whose key is not in force yet, and delete what it has made; return the key.

        Raises NoRotation, RotationBusy, RotationInForce, KeyChanged, Unavailable; ManagementError: it goes on.
        """
        self.check_abort(info)
        taken = self._change(info, attempt=self.new_id(), held_until=self.clock() + HELD_SECONDS)
        try:
            self._delete_made(taken, self._leased(taken))
        except ManagementError as fault:
            self._change(taken, attempt="", held_until=0, problem=fault.reason)
            raise
        return self._end(taken, record, "aborted")

    def check_abort(self, info: KeyInfo) -> None:
        """Raise NoRotation, RotationBusy or RotationInForce if `abort` would."""
        rotation = _rotation(info)
        if rotation.busy(self.clock()):
            raise RotationBusy
        if rotation.step == OVERLAP:
            raise RotationInForce

    def name(self, info: KeyInfo) -> str:
        """Return how the names of this key's keys at the provider begin."""
        return f"{self.prefix}/{info.name}/"

    def _create(self, taken: KeyInfo, record: Record) -> KeyInfo:
        management, rotation = self._leased(taken), _rotation(taken)
        self._delete_made(taken, management)
        created = management.create(f"{self.name(taken)}{rotation.id}/{rotation.attempt}")
        try:
            key = self._key(taken, created)
            self.store.put(taken.name, key)
            self._prove(key, taken.provider)
            return self._promote(taken, key, created.id, record)
        except StateUncertain:
            raise  # it may be in force
        except (ManagementError, Refusal):
            with contextlib.suppress(ManagementError):  # else it is found by its name
                management.delete(created.id)
            raise

    def _leased(self, taken: KeyInfo) -> KeyManagement:
        return Leased(self.management(taken), _rotation(taken).held_until, self.clock)

    def _key(self, info: KeyInfo, created: CreatedKey) -> ProviderKey:
        kept, provider = info.kept(self.origins), PROVIDERS[info.provider]
        version = version_of_set(self.new_id())
        if kept:
            prefix = provider.prefix if kept.prefix is None else kept.prefix
            return ProviderKey(version, kept.origin, kept.header, prefix, created.value)
        return ProviderKey(
            version, self.origins.choose(None, provider), provider.header, provider.prefix, created.value
        )

    def _prove(self, key: ProviderKey, provider: str) -> None:
        ends = self.clock() + PROOF_SECONDS
        while True:
            probed, why = self.probe.probe(key, provider)
            # SECURITY: only a key that the provider answers comes into force (test_an_unproved_key_is_not_in_force).
            if probed in (Probed.WORKS, Probed.RESTRICTED):
                return
            if self.clock() >= ends:
                raise ManagementError(f"probe_{why}")
            self.wait(1.0)

    def _promote(self, taken: KeyInfo, key: ProviderKey, key_id: str, record: Record) -> KeyInfo:
        now, rotation, current = self.clock(), _rotation(taken), taken.current
        version = KeyVersion(
            key.version, key.origin, key.header, rotation.author, now, key.prefix, taken.provider, key_id
        ).after(None if rotation.leaked else current)
        done = replace(
            rotation,
            step=OVERLAP,
            attempt="",
            held_until=0,
            key_id=key_id,
            retiring=current.provider_key_id if current else "",
            ends=now + rotation.overlap,
        )
        promoted = replace(taken, current=version, rotation=done)
        detail = {"version": version.version, "origin": version.origin, "provider_key": key_id, "rotation": rotation.id}
        self.keys.change_key(taken, promoted, record("key.rotated", detail))
        return promoted

    def _retire(self, taken: KeyInfo, record: Record) -> KeyInfo:
        rotation, management = _rotation(taken), self._leased(taken)
        if rotation.retiring:
            management.delete(rotation.retiring)
        self._delete_made(taken, management)
        current = taken.current
        gone = current.before.provider_key_id == rotation.retiring != "" if current and current.before else False
        if current and (gone or rotation.leaked):
            current = replace(current, before=None)
        ended = replace(taken, current=current, rotation=None)
        detail = {"rotation": rotation.id, "deleted": rotation.retiring or "by hand"}
        self.keys.change_key(taken, ended, record("key.retired", detail))
        return ended

    def _delete_made(self, taken: KeyInfo, management: KeyManagement) -> None:
        """Delete what attempts of this rotation have made that is not in force."""
        rotation = _rotation(taken)
        used = {rotation.key_id, taken.current.provider_key_id if taken.current else ""}
        for one in management.named(f"{self.name(taken)}{rotation.id}/"):
            if one.id not in used:
                management.delete(one.id)

    def _end_of_another(self, taken: KeyInfo, record: Record) -> None:
        """End the rotation if a value was set meanwhile, by hand; what it has made is deleted already."""
        with contextlib.suppress(Refusal):  # then the next attempt finds the same
            found = self.keys.key_info(taken.name)
            if found and found.rotation == taken.rotation:
                self._end(found, record, "another value was set meanwhile")

    def _end(self, taken: KeyInfo, record: Record, why: str) -> KeyInfo:
        ended = replace(taken, rotation=None)
        event = record("key.rotation_ended", {"rotation": _rotation(taken).id, "why": why})
        self.keys.change_key(taken, ended, event)
        return ended

    def _change(self, info: KeyInfo, **parts: Any) -> KeyInfo:  # noqa: ANN401  members of Rotation
        changed = replace(info, rotation=replace(_rotation(info), **parts))
        self.keys.change_key(info, changed)
        return changed


def _rotation(info: KeyInfo) -> Rotation:
    if info.rotation is None:
        raise NoRotation
    return info.rotation
