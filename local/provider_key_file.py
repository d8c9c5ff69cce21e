"""Provider keys on one machine: a JSON file of mode 0600 that holds value, origin and header together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from chalicelib.errors import Unavailable
from chalicelib.providers import ProviderKey
from local import secret_file

_FIELDS = ("version", "origin", "header", "prefix", "value")


class ProviderKeyFile:
    """`chalicelib.providers.ProviderKeys` over a file. A version that was read once is remembered, for it cannot change."""

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

    def _read(self, name: str, version: str) -> ProviderKey:
        try:
            stored = json.loads(secret_file.read(self._path))[name]
            key = ProviderKey(**{field: _text(stored[field]) for field in _FIELDS})
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Unavailable("provider_key_missing") from None
        if not version or key.version != version:
            raise Unavailable("provider_key_version")
        return key

    def write(self, keys: Mapping[str, ProviderKey]) -> None:
        """Replace the file's keys."""
        stored = {
            name: {"version": key.version, "origin": key.origin, "header": key.header, "prefix": key.prefix}
            | {"value": key.reveal().removeprefix(key.prefix)}
            for name, key in keys.items()
        }
        secret_file.write(self._path, json.dumps(stored))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")  # `null` must not become a key that reads "None"
    return value
