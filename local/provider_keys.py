"""Provider keys on one machine: the state says which version is in force, a file holds its value and the one before it."""

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

    def known_keys(self) -> tuple[KeyInfo, ...]:
        """See `Keys.known_keys`."""
        return self._keys.known_keys()

    def key_info(self, name: str) -> KeyInfo | None:
        """See `Keys.key_info`."""
        return self._keys.key_info(name)

    def set_key(self, name: str, version: KeyVersion, event: Event, replaces: str | None = None) -> None:
        """See `Keys.set_key`. The values that it replaces are deleted before this returns, but for the one to go back to."""
        with self._file.superseding(name, version.version, _before(version)):
            self._keys.set_key(name, version, event, replaces)

    def change_key(self, before: KeyInfo, after: KeyInfo, event: Event | None = None) -> None:
        """See `Keys.change_key`; values are deleted as by `set_key`."""
        if after.current is None or after.current == before.current:
            self._keys.change_key(before, after, event)
            return
        with self._file.superseding(after.name, after.current.version, _before(after.current)):
            self._keys.change_key(before, after, event)


class LocalManagementKeys:
    """`ProviderKeys` and `ProviderKeyStore` for the credentials with which keys are replaced, in the same file.

    They are below a name that no key can have, so no call can use them.
    """

    def __init__(self, file: ProviderKeyFile) -> None:
        self._file = file

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`."""
        return self._file.get(management_name(name), version)

    def put(self, name: str, key: ProviderKey) -> None:
        """See `ProviderKeyStore.put`."""
        self._file.put(management_name(name), key)


def management_name(key: str) -> str:
    """Return under which name the credential is that replaces a key."""
    return f"management/{key}"


def _before(version: KeyVersion) -> str:
    return version.before.version if version.before else ""
