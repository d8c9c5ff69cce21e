"""Provider keys on one machine: the state says which version is in force, a file holds its value, and no older one."""

from __future__ import annotations

from chalicelib.audit import Event
from chalicelib.providers.errors import ProviderKeyNotSet
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.versions import KeyInfo, Keys, KeyVersion
from local.provider_key_file import ProviderKeyFile

_TRIES = 4
"""How many versions are looked up at most while administrators replace them one after another."""


class LocalProviderKeys:
    """`chalicelib.providers.keys.ProviderKeys` and `ProviderKeyStore`, and `chalicelib.providers.versions.Keys`."""

    def __init__(self, file: ProviderKeyFile, keys: Keys) -> None:
        self._file = file
        self._keys = keys

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`; a version that was replaced and deleted meanwhile is answered by the one in force."""
        for _ in range(_TRIES):
            try:
                return self._file.get(name, version)
            except ProviderKeyNotSet:
                # A call that was admitted just before a new value came into force (test_a_call_meets_a_new_value).
                info = self._keys.key_info(name)
                if info is None or info.current is None or info.current.version == version:
                    raise
                version = info.current.version
        raise ProviderKeyNotSet

    def put(self, name: str, key: ProviderKey) -> None:
        """See `ProviderKeyStore.put`."""
        self._file.put(name, key)

    def keys(self, event: Event) -> tuple[KeyInfo, ...]:
        """See `Keys.keys`."""
        return self._keys.keys(event)

    def key_info(self, name: str) -> KeyInfo | None:
        """See `Keys.key_info`."""
        return self._keys.key_info(name)

    def set_key(self, name: str, version: KeyVersion, event: Event, replaces: str | None = None) -> None:
        """See `Keys.set_key`. The values that it replaces are deleted before this returns."""
        with self._file.superseding(name, version.version):
            self._keys.set_key(name, version, event, replaces)
