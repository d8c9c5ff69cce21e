"""Measures now and then how long a revocation takes until it holds, over this server's own edge. The last result is in a file."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from chalicelib.admin import revocation_probe
from chalicelib.admin.revocation_probe import ANSWER_BYTES, NAME, Kept, RevocationProbe, Seen
from chalicelib.audit import Event
from chalicelib.errors import Unavailable
from chalicelib.revocation import EPOCHS, EVERYTHING, Revocation, RevocationState, RevocationTarget, detail
from chalicelib.tokens.key_list import SigningKeyList
from chalicelib.tokens.signer import Signer
from chalicelib.tokens.verify import ISSUED_TYPE
from local import secret_file
from local.sqlite.control import SqliteControl

WHERE: Final = "this machine"
_BLOCK_SECONDS: Final = 2
"""Seconds that the block lasts; from then on the epoch keeps the token out, and the next one is open."""
_TOKEN_SECONDS: Final = 60
_CALL_SECONDS: Final = 2.0
_LOG = logging.getLogger("keybroker")


class Edge:
    """The server's own edge, as any caller meets it, by a connection of its own for each call."""

    def __init__(self, listening: socket.socket, *, is_tls: bool) -> None:
        host, port, *_ = listening.getsockname()
        any_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not bound
        self._address = (any_address.get(host, host), port)
        self._tls = ssl._create_unverified_context() if is_tls else None  # noqa: S323, SLF001  our own socket, and a token that opens nothing

    def call(self, token: str, scope: str = "principal") -> Seen:
        """Make a call with a token, in bounded time. scope: of the revocation that is measured."""
        with contextlib.closing(self._connection()) as connection:
            try:
                connection.request("GET", f"/{NAME}/v1", headers={"authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                return revocation_probe.seen(answer.status, answer.read(ANSWER_BYTES), scope)
            except (OSError, http.client.HTTPException):
                return Seen.UNKNOWN

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=_CALL_SECONDS)
        return http.client.HTTPSConnection(host, port, timeout=_CALL_SECONDS, context=self._tls)


class Known(Protocol):
    """What a state knows that a token has to say. Its methods raise Unavailable."""

    def revocation_state(self, target: RevocationTarget) -> RevocationState:
        """See `chalicelib.revocation.Revocations`."""

    def signing_key_list(self) -> SigningKeyList:
        """See `chalicelib.tokens.key_list.SigningKeyLists`."""


def token_of(signer: Signer, known: Known, issuer: str, jti: str, now: int) -> str:
    """Return a token of the probe's principal, signed by this server; raises Unavailable. now: epoch seconds."""
    # SECURITY: neither its grant nor its key nor its issuer is in any policy, and its scope is empty of everything else,
    # so the token is refused whatever happens (test_the_probe_s_token_opens_nothing).
    sub = f"{issuer}|{NAME}"
    named = {
        "everything": EVERYTHING,
        **{scope: RevocationTarget(scope, NAME) for scope in ("issuer", "key", "grant")},
        "principal": RevocationTarget("principal", sub),
    }
    epochs = [known.revocation_state(named[scope]).epoch for scope in EPOCHS]
    claims = {
        "iss": issuer,
        "sub": sub,
        "aud": NAME,
        "client_id": sub,
        "scope": "GET:/v1",
        "grant": NAME,
        "idp": NAME,
        "ep": epochs,
        "jti": jti,
        "iat": now,
        "nbf": now,
        "exp": now + _TOKEN_SECONDS,
    }
    kid = signer.kid(known.signing_key_list().signs)
    return signer.begin({"typ": ISSUED_TYPE, "kid": kid}, claims).result()


class Steps:
    """`chalicelib.admin.revocation_probe.Steps` over a state file: a token and a revocation of the probe's own."""

    def __init__(self, edge: Edge, control: SqliteControl, signer: Signer, issuer: str, now: int) -> None:
        self._edge, self._control, self._now = edge, control, now
        self._sub = f"{issuer}|{NAME}"
        self._token = token_of(signer, control, issuer, secrets.token_urlsafe(16), now)

    def call(self) -> Seen:
        """See `Steps.call`."""
        return self._edge.call(self._token)

    def revoke(self) -> None:
        """See `Steps.revoke`. Its block ends by itself; the epoch keeps the token out for good."""
        revocation = Revocation(
            f"{NAME}-{secrets.token_urlsafe(16)}",
            "principal",
            self._sub,
            "measures how long a revocation takes",
            NAME,
            self._now,
            self._now + _BLOCK_SECONDS,
        )
        event = Event(
            id=secrets.token_urlsafe(16),
            at=self._now,
            kind="revocation.made",
            request_id="",
            principal=self._sub,
            actor=NAME,
            detail=detail(revocation),
        )
        self._control.revoke(revocation, event)


class ProbeFile:
    """The last measurement, in a file: `chalicelib.admin.revocation_probe.RevocationProbes`, and `Kept`."""

    where = WHERE

    def __init__(self, path: Path) -> None:
        self._path = path

    def revocation_probes(self) -> tuple[RevocationProbe, ...]:
        """See `RevocationProbes`; none until there was a measurement."""
        if not self._path.exists():
            return ()
        with contextlib.suppress(ValueError, TypeError):  # a file that is no use is one that will be replaced
            return (RevocationProbe(**json.loads(secret_file.read(self._path))),)
        return ()

    def begin(self, now: int) -> bool:  # noqa: ARG002  the port's
        """See `Kept.begin`: nobody else measures here."""
        return True

    def keep(self, probe: RevocationProbe) -> None:
        """Replace the last one; raises Unavailable or OSError."""
        secret_file.write(self._path, json.dumps(probe.to_json()))


class Probed(Protocol):
    """Makes a measurement's steps; raises Unavailable."""

    def __call__(self, now: int, /) -> revocation_probe.Steps:
        """now: epoch seconds."""


class RevocationProbing:
    """Measures every so often, in a thread of its own, when it is this server's turn."""

    def __init__(self, make: Probed, kept: Kept, every: float) -> None:
        """make: makes the steps of one measurement. every: seconds from one measurement to the next, and until the first."""
        self._make, self._kept, self._every = make, kept, every
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Measure meanwhile."""
        thread = threading.Thread(target=self._act, name="revocation-probe", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(_CALL_SECONDS)

    def _act(self) -> None:
        while not self._stop.wait(self._every):
            self.measure()

    def measure(self) -> None:
        """Measure once, if it is our turn; what goes wrong is logged, and is an `unknown` that is kept where it can be."""
        now = int(time.time())
        try:
            if self._kept.begin(now):
                self._keep(self._measured(now))
        except Exception as fault:  # noqa: BLE001  whatever it is: a thread that ends measures nothing from then on
            _LOG.warning(json.dumps({"door": NAME, "reason": f"not kept: {type(fault).__name__}"}))

    def _measured(self, now: int) -> RevocationProbe:
        where = self._kept.where
        try:
            return revocation_probe.measure(self._make(now), where, now, time.monotonic, time.sleep)
        except Unavailable as fault:
            reason = fault.reason
        except Exception as fault:  # noqa: BLE001  as above
            # SECURITY: its type alone, since its text may quote anything (test_a_fault_ends_no_measuring).
            reason = type(fault).__name__
        _LOG.warning(json.dumps({"door": NAME, "reason": reason}))
        return RevocationProbe(where, now, "unknown", None, 0)

    def _keep(self, found: RevocationProbe) -> None:
        if found.outcome != "held":
            _LOG.warning(json.dumps({"door": NAME, **found.to_json()}))
        self._kept.keep(found)
