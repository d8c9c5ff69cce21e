"""Provider keys on one machine: a JSON file of mode 0600 that holds each version's value, origin and header together."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from chalicelib.providers.errors import ProviderKeyNotSet, ProviderKeysUnwritable
from chalicelib.providers.keys import ProviderKey
from local import secret_file
from local.errors import ProviderKeyMissing

_FIELDS = ("origin", "header", "prefix", "value")
_Stored = dict[str, dict[str, dict[str, str]]]
"""Fields of a version, by key name and version, the oldest first."""


class ProviderKeyFile:
    """`chalicelib.providers.keys.ProviderKeys` and `ProviderKeyStore` over a file.

    A version that was read is cached, since it never changes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[str, str], ProviderKey] = {}

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`."""
        key = self._known.get((name, version))
        if key is None:
            key = self._read(name, version)
            self._known[name, version] = key
        return key

    def put(self, name: str, key: ProviderKey) -> None:
        """See `ProviderKeyStore.put`."""
        with self._changing() as stored:
            value = key.reveal().removeprefix(key.prefix)
            kept = {"origin": key.origin, "header": key.header, "prefix": key.prefix, "value": value}
            stored.setdefault(name, {})[key.version] = kept

    def origins(self) -> frozenset[str]:
        """Return the origins of all versions of all keys, none without a file; raises Unavailable for an unusable file."""
        if not self._path.exists():
            return frozenset()
        with self._changing() as stored:
            return frozenset(one["origin"] for versions in stored.values() for one in versions.values())

    def keep_only(self, versions: Mapping[str, str], *, practice: bool) -> None:
        """Delete all but these versions, by key name; without the practice provider, delete practice keys too.

        Only for start-up, when no keys are being set.
        """
        with self._changing() as stored:
            for name in versions.keys() & stored.keys():
                stored[name] = {
                    version: one
                    for version, one in stored[name].items()
                    if version == versions[name] and (practice or not is_practice(one["origin"]))
                }

    def _read(self, name: str, version: str) -> ProviderKey:
        try:
            versions = json.loads(secret_file.read(self._path))[name]
            stored = versions.get(version) if version else None
            if stored is None:
                raise ProviderKeyNotSet
            return ProviderKey(version, **{field: _text(stored[field]) for field in _FIELDS})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ProviderKeyMissing from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[_Stored]:
        """Yield what is stored, to be changed and stored again, to one process at a time."""
        try:
            with open(self._path.with_suffix(".lock"), "a", opener=_private) as lock:
                # Otherwise two administrators who set keys at the same time would overwrite each other's.
                fcntl.flock(lock, fcntl.LOCK_EX)
                stored: _Stored = json.loads(secret_file.read(self._path)) if self._path.exists() else {}
                yield stored
                secret_file.write(self._path, json.dumps(stored))
        except (OSError, ValueError, TypeError, AttributeError):
            # SECURITY: no cause, since a JSON error holds the whole text (test_a_file_that_is_no_use_is_not_written_over).
            raise ProviderKeysUnwritable from None


def is_practice(origin: str) -> bool:
    """Whether an origin is the practice provider's, the only one reached without TLS, and on this machine."""
    return origin.startswith("http://localhost:")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")  # `null` must not become a key that reads "None"
    return value
