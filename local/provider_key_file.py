"""Provider keys on one machine: a JSON file of mode 0600 that holds each version's value, origin and header together."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from chalicelib.providers.errors import KeyChanged, ProviderKeyNotSet, ProviderKeysUnwritable
from chalicelib.providers.keys import ProviderKey
from local import sealed_file
from local.errors import ProviderKeyMissing

_LOG = logging.getLogger("keybroker")
_FIELDS = ("origin", "header", "prefix", "value")
_Stored = dict[str, dict[str, dict[str, str]]]
"""Fields of a version, by key name and version, the oldest first."""


class ProviderKeyFile:
    """`chalicelib.providers.keys.ProviderKeys` and `ProviderKeyStore` over a file.

    The last version read of each key is cached, since a version never changes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, ProviderKey] = {}

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`."""
        key = self._known.get(name)
        if key is None or key.version != version:
            key = self._known[name] = self._read(name, version)
        return key

    def put(self, name: str, key: ProviderKey) -> None:
        """See `ProviderKeyStore.put`."""
        with self._changing() as stored:
            value = key.reveal().removeprefix(key.prefix)
            kept = {"origin": key.origin, "header": key.header, "prefix": key.prefix, "value": value}
            if key.expires:
                kept |= {"expires": str(key.expires), "beside": json.dumps(key.beside)}
            stored.setdefault(name, {})[key.version] = kept

    def origins(self) -> frozenset[str]:
        """Return the origins of all versions of all keys, none without a file; raises Unavailable for an unusable file."""
        if not self._path.exists():
            return frozenset()
        with self._locked():
            return frozenset(one["origin"] for versions in self._stored().values() for one in versions.values())

    def check(self) -> None:
        """Read the file, if there is one, and change nothing; raises Unavailable if it is of no use."""
        self._stored()

    def lacks(self, versions: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of those keys of which a version is not here. versions: by name. Raises Unavailable."""
        if not versions or not self._path.exists():
            return tuple(versions)
        with self._locked():
            stored = self._stored()
        return tuple(name for name, version in versions.items() if version not in stored.get(name, {}))

    def unchanging(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which nobody changes the file, or puts a version of it in force; raises Unavailable."""
        return self._locked()

    @contextlib.contextmanager
    def superseding(self, name: str, version: str, kept: str = "") -> Iterator[None]:
        """Within it, put a version in force; afterwards its predecessors are deleted, but for one that is kept to go back to.

        Nobody else changes the file meanwhile. What was stored later stays: another administrator is about to put it in force.
        Raises KeyChanged if a later version was put in force, and this one deleted, before it began; Unavailable.
        """
        with self._locked():
            # SECURITY: a version must not come into force that is not there any more (test_the_last_of_two_is_whole).
            if version not in self._stored().get(name, {}):
                raise KeyChanged
            yield
            try:
                self._store(_without(self._stored(), name, before=version, kept=kept))
            except ProviderKeysUnwritable as fault:  # it is in force all the same; the next key or start deletes them
                _LOG.warning(json.dumps({"door": "admin", "reason": fault.reason, "key": name, "kept": "older values"}))

    def keep_only(self, name: str, version: str, before: str = "") -> bool:
        """Delete all versions of a key but this one and, if named, the one before it, and return True.

        Delete nothing, and return False, if this one is not there.

        Only for start-up, when no keys are being set.
        """
        with self._locked():
            stored = self._stored()
            # SECURITY: an old state file names a version that is gone, and the one that is here cannot be had again
            # (test_an_old_state_deletes_no_key).
            if version not in stored.get(name, {}):
                return False
            kept = {each: one for each, one in stored[name].items() if each in (before, version)}
            if kept != stored[name]:
                self._store({**stored, name: kept})
            return True

    def forget_practice_keys(self) -> None:
        """Delete the versions that are for the practice provider."""
        with self._changing() as stored:
            for name, versions in stored.items():
                stored[name] = {each: one for each, one in versions.items() if not is_practice(one["origin"])}

    def _read(self, name: str, version: str) -> ProviderKey:
        try:
            versions = json.loads(sealed_file.read(self._path))[name]
            stored = versions.get(version) if version else None
            if stored is None:
                raise ProviderKeyNotSet
            fields = {field: _text(stored[field]) for field in _FIELDS}
            beside = tuple((_text(name), _text(value)) for name, value in json.loads(stored.get("beside", "[]")))
            return ProviderKey(version, **fields, expires=int(stored.get("expires", "0")), beside=beside)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ProviderKeyMissing from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[_Stored]:
        """Yield what is stored, to be changed and stored again, to one process at a time."""
        with self._locked():
            stored = self._stored()
            yield stored
            self._store(stored)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Otherwise two administrators who set keys at the same time would overwrite each other's.
        with contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context(open(self._path.with_suffix(".lock"), "a", opener=_private))
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                raise self._unwritable(str(error.strerror)) from None
            yield

    def _stored(self) -> _Stored:
        try:
            text = sealed_file.read(self._path) if self._path.exists() else "{}"
            return {
                name: {version: dict(one) for version, one in versions.items()}
                for name, versions in json.loads(text).items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            # SECURITY: no cause, since a JSON error holds the whole text (test_a_file_that_is_no_use_is_not_written_over).
            raise self._unwritable("it holds no keys as they are written: restore a backup") from None

    def _store(self, stored: _Stored) -> None:
        try:
            sealed_file.write(self._path, json.dumps(stored))
        except OSError as error:
            raise self._unwritable(str(error.strerror)) from None

    def _unwritable(self, why: str) -> ProviderKeysUnwritable:
        return ProviderKeysUnwritable(hint=f"{self._path}: {why}")


def _without(stored: _Stored, name: str, *, before: str, kept: str) -> _Stored:
    """Return what is stored, but for the versions of a key that were stored before this one; one of them is kept."""
    versions = list(stored[name])
    later = versions[versions.index(before) :]
    return {**stored, name: {version: one for version, one in stored[name].items() if version in (kept, *later)}}


def is_practice(origin: str) -> bool:
    """Whether an origin is the practice provider's, the only one reached without TLS, and on this machine."""
    return origin.startswith("http://localhost:")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")  # `null` must not become a key that reads "None"
    return value
