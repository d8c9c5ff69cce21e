"""Asks a provider whether a key works, before anything depends on it."""

from __future__ import annotations

from chalicelib.issuers.errors import FetchError
from chalicelib.issuers.fetch import send
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.presets import PROVIDERS
from chalicelib.providers.probing import Probed, judge

SECONDS = 8.0
"""How long a provider has to answer."""


class HttpKeyProbe:
    """`chalicelib.providers.probing.KeyProbe`, by the provider's own API."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds

    def probe(self, key: ProviderKey, provider: str) -> tuple[Probed, str]:
        """See `KeyProbe.probe`. Redirects are not followed, and of the answer only its status is used."""
        asked = PROVIDERS[provider].probe
        if asked is None:
            return Probed.NONE, ""
        headers = {"accept": "application/json", "user-agent": "keybroker", **dict(asked.headers)}
        try:
            # SECURITY: to the key's own origin alone, which Origins has checked, as a call goes (test_a_probe_goes_to_its_origin).
            status, _ = send(
                asked.method, key.origin + asked.path, {**headers, key.header: key.reveal()}, self._seconds
            )
        except (FetchError, ValueError) as fault:
            return Probed.UNKNOWN, str(fault) if isinstance(fault, FetchError) else "malformed"
        return judge(status), f"status_{status}"
