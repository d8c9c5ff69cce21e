"""Mints the credentials of federated keys on one machine, in a thread of the server's."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import jwt

from chalicelib.errors import Unavailable
from chalicelib.federation import assertion
from chalicelib.federation.exchange import Answer, MintError
from chalicelib.federation.minter import Minter
from chalicelib.issuers import fetch
from chalicelib.providers.federated import AWS_STS
from chalicelib.providers.origins import Origins
from chalicelib.providers.versions import KeyInfo
from local.federation_key_file import FederationKeyFile
from local.provider_key_file import ProviderKeyFile
from local.provider_keys import LocalProviderKeys
from local.sqlite.control import SqliteControl
from local.sqlite.ledger import SqliteLedger
from local.sqlite.mint_notes import SqliteMintNotes
from local.sqlite.state_file import StateFile
from local.urls import Urls

EVERY_SECONDS = 2.0
_AFTER_FAULT_SECONDS = 30.0
"""Seconds from a look that came to nothing to the next: what it minted could not be kept, nor noted."""
_STOP_SECONDS = 2.0
_LOG = logging.getLogger("keybroker")


class LocalMeans:
    """`chalicelib.federation.exchange.Means` of one key."""

    def __init__(self, info: KeyInfo, jti: Callable[[str], None], parts: Parts) -> None:
        self._info, self._jti, self._parts = info, jti, parts

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes, within: float) -> Answer:
        """See `Means.ask`."""
        if self._parts.practice is not None:
            # SECURITY: nothing of practice leaves this machine (test_practice_asks_no_provider).
            parts = urlsplit(url)
            url = self._parts.practice + parts.path + (f"?{parts.query}" if parts.query else "")
        return Answer(*fetch.ask(method, url, headers, body, within))

    def assertion(self, audience: str, life: int, algorithms: Sequence[str]) -> str:
        """See `Means.assertion`."""
        ids, parts = self._info.federated or {}, self._parts
        if ids.get("identity") == AWS_STS:
            self._refuse_in_practice()
            from chalicelib.aws import web_identity  # noqa: PLC0415  most machines are not AWS's

            token = web_identity.assertion(audience, life, algorithms)
            self._jti(web_identity.unverified_jti(token))
            return token
        now, jti = parts.clock(), new_id()
        claims = assertion.claims(parts.broker, self._info.name, audience, now, life, jti)
        self._jti(jti)
        return parts.keys.sign(claims, algorithms, now)

    def app_token(self, claims: Mapping[str, object]) -> str:
        """See `Means.app_token`."""
        pem = self._parts.keys.app_key(str(claims["iss"]))
        if pem is None:
            raise MintError("app_key_missing", denied=True)
        return jwt.encode(dict(claims), pem, "RS256")

    def bedrock_token(self, region: str, role: str, life: int) -> tuple[str, int]:
        """See `Means.bedrock_token`."""
        self._refuse_in_practice()
        from chalicelib.aws.bedrock_token import make  # noqa: PLC0415  as above

        return make(region, role, life, self._parts.clock())

    def _refuse_in_practice(self) -> None:
        """Raise MintError while the practice parts run: AWS is no practice provider, and knows this machine's own credentials."""
        if self._parts.practice is not None:
            # SECURITY: as above (test_practice_asks_aws_for_nothing).
            raise MintError("not_in_practice", denied=True)


class Parts:
    """What the means of all keys of a state directory have in common."""

    def __init__(self, directory: Path, urls: Urls, clock: Callable[[], float] = time.time) -> None:
        """clock: epoch seconds."""
        self.directory, self.broker, self._clock = directory, urls.broker, clock
        self.practice = urls.provider
        """The practice provider's address; None: the real ones are asked."""
        self.keys = FederationKeyFile(directory / "federation-keys.json")

    def clock(self) -> int:
        """Return the time in epoch seconds."""
        return int(self._clock())

    def means(self, info: KeyInfo, jti: Callable[[str], None]) -> LocalMeans:
        """See `chalicelib.federation.minter.MeansOf`."""
        return LocalMeans(info, jti, self)

    def jwks(self) -> list[Mapping[str, str]]:
        """Return the public keys of our own issuer, as JWKs; raises Unavailable."""
        return [one.jwk for one in self.keys.published(self.clock())]

    def made_jwks(self) -> list[Mapping[str, str]]:
        """Return the same, of keys that are made if there are none yet: who sets up a provider needs them beforehand."""
        self.keys.make(self.clock())
        return self.jwks()


def minter(directory: Path, urls: Urls, state: StateFile, clock: Callable[[], float] = time.time) -> Minter:
    """Return what mints the credentials of a state directory's federated keys; raises Unavailable if a file is missing."""
    keys = LocalProviderKeys(ProviderKeyFile(directory / "provider-keys.json"), SqliteControl(state))
    parts, origins = Parts(directory, urls, clock), Origins(urls.practice_origin())
    notes, audit = SqliteMintNotes(state), SqliteLedger(state)
    return Minter(keys, keys, notes, audit, parts.means, origins, parts.clock, new_id)


def new_id() -> str:
    """Return an unguessable id."""
    return secrets.token_urlsafe(16)


class Minting:
    """Looks every so often. Two servers over one state do not disturb each other: one value comes into force."""

    def __init__(self, minter: Callable[[], Minter], every: float = EVERY_SECONDS) -> None:
        """every: seconds from one look to the next."""
        self._minter, self._every = minter, every
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Look meanwhile, the first time at once."""
        thread = threading.Thread(target=self._act, name="minting", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(_STOP_SECONDS)  # a credential that was minted and is not stored ends by itself

    def _act(self) -> None:
        while not self._stop.wait(self._every if self.look() else _AFTER_FAULT_SECONDS):
            pass

    def look(self) -> bool:
        """Mint what is due, and return whether that could be done or noted; what goes wrong is logged, and is due again."""
        began = time.monotonic()
        try:
            for key, outcome in self._minter().renew_due().items():
                took = round(time.monotonic() - began, 3)
                _LOG.info(json.dumps({"door": "minter", "reason": outcome, "key": key, "seconds": took}))
        except Unavailable as fault:
            _LOG.warning(json.dumps({"door": "minter", "reason": fault.reason}))
            return False
        except Exception as fault:  # noqa: BLE001  whatever it is: a thread that ends mints nothing from then on
            # SECURITY: its type alone, since its text may quote anything (test_a_fault_ends_no_minting).
            _LOG.warning(json.dumps({"door": "minter", "reason": type(fault).__name__}))
            return False
        return True
