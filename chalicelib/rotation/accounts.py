"""The account at a provider with which a key is replaced: its credential is read where it is used, and nowhere else."""

from __future__ import annotations

from chalicelib.providers.keys import ProviderKeys
from chalicelib.providers.versions import KeyInfo
from chalicelib.rotation.errors import ManagementNotSupported, NoManagement
from chalicelib.rotation.management import KeyManagement, Send
from chalicelib.rotation.managements import MANAGEMENTS


class Accounts:
    """Makes what speaks to a key's provider. credentials: where management keys are kept, by the key's name."""

    def __init__(self, credentials: ProviderKeys, send: Send) -> None:
        self._credentials = credentials
        self._send = send

    def __call__(self, info: KeyInfo) -> KeyManagement:
        """Return it; raises NoManagement, ManagementNotSupported, or Unavailable if the credential cannot be read."""
        management = info.management
        if management is None:
            raise NoManagement
        credential = self._credentials.get(info.name, management.version)
        # SECURITY: to the origin that was set with it, never to where the key's calls go (test_a_management_key_stays_home).
        return self.of(info.provider, credential.origin, credential.value, dict(management.settings))

    def of(self, provider: str, origin: str, value: str, settings: dict[str, str]) -> KeyManagement:
        """Return it for a credential that is not stored; raises ManagementNotSupported."""
        made = MANAGEMENTS.get(provider)
        if made is None:
            raise ManagementNotSupported
        management: KeyManagement = made(origin, value, settings, self._send)
        return management
