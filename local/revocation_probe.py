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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from chalicelib.admin import revocation_probe
from chalicelib.admin.revocation_probe import RevocationProbe, Seen
from chalicelib.audit import Event
from chalicelib.errors import Unavailable
from chalicelib.revocation import EPOCHS, EVERYTHING, Revocation, RevocationTarget, detail
from chalicelib.tokens.signer import Signer
from chalicelib.tokens.verify import ISSUED_TYPE
from local import secret_file
from local.sqlite.control import SqliteControl

NAME: Final = "revocation-probe"
"""Names its principal, and the key, grant and issuer of its tokens: none of which any policy has, so they open nothing."""
WHERE: Final = "this machine"
_BLOCK_SECONDS: Final = 2
"""Seconds that the block lasts; from then on the epoch keeps the token out, and the next one is open."""
_TOKEN_SECONDS: Final = 60
_CALL_SECONDS: Final = 2.0
_REFUSALS: Final = {(403, "revoked"), (401, "invalid_token")}
"""What the edge says of a token whose grant is not there, and of one that was revoked, while it is blocked and afterwards."""
_ANSWER_BYTES: Final = 64 * 1024
_LOG = logging.getLogger("keybroker")


class Edge:
    """The server's own edge, as any caller meets it, by a connection of its own for each call."""

    def __init__(self, listening: socket.socket, *, is_tls: bool) -> None:
        host, port, *_ = listening.getsockname()
        any_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not bound
        self._address = (any_address.get(host, host), port)
        self._tls = ssl._create_unverified_context() if is_tls else None  # noqa: S323, SLF001  our own socket, and a token that opens nothing

    def call(self, token: str) -> Seen:
        """Make a call with a token, in bounded time."""
        with contextlib.closing(self._connection()) as connection:
            try:
                connection.request("GET", f"/{NAME}/v1", headers={"authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                refusal = json.loads(answer.read(_ANSWER_BYTES))["error"]
                if (answer.status, refusal["code"]) not in _REFUSALS:
                    return Seen.UNKNOWN
                return Seen.REVOKED if "(principal)" in refusal["message"] else Seen.OPEN
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
                return Seen.UNKNOWN

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=_CALL_SECONDS)
        return http.client.HTTPSConnection(host, port, timeout=_CALL_SECONDS, context=self._tls)


class Steps:
    """`chalicelib.admin.revocation_probe.Steps` over a state file: a token and a revocation of the probe's own."""

    def __init__(self, edge: Edge, control: SqliteControl, signer: Signer, issuer: str, now: int) -> None:
        self._edge, self._control, self._now = edge, control, now
        self._sub = f"{issuer}|{NAME}"
        self._token = self._sign(signer, issuer)

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

    def _sign(self, signer: Signer, issuer: str) -> str:
        # SECURITY: neither its grant nor its key nor its issuer is in any policy, and its scope is empty of everything else,
        # so the token is refused whatever happens (test_the_probe_s_token_opens_nothing).
        named = {
            "everything": EVERYTHING,
            **{scope: RevocationTarget(scope, NAME) for scope in ("issuer", "key", "grant")},
            "principal": RevocationTarget("principal", self._sub),
        }
        epochs = [self._control.revocation_state(named[scope]).epoch for scope in EPOCHS]
        times = {"iat": self._now, "nbf": self._now, "exp": self._now + _TOKEN_SECONDS}
        claims = {
            "iss": issuer,
            "sub": self._sub,
            "aud": NAME,
            "client_id": self._sub,
            "scope": "GET:/v1",
            "grant": NAME,
            "idp": NAME,
            "ep": epochs,
            "jti": secrets.token_urlsafe(16),
            **times,
        }
        kid = signer.kid(self._control.signing_key_list().signs)
        return signer.begin({"typ": ISSUED_TYPE, "kid": kid}, claims).result()


class ProbeFile:
    """The last measurement, in a file: `chalicelib.admin.revocation_probe.RevocationProbes`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def revocation_probes(self) -> tuple[RevocationProbe, ...]:
        """See `RevocationProbes`; none until there was a measurement."""
        if not self._path.exists():
            return ()
        with contextlib.suppress(ValueError, TypeError):  # a file that is no use is one that will be replaced
            return (RevocationProbe(**json.loads(secret_file.read(self._path))),)
        return ()

    def keep(self, probe: RevocationProbe) -> None:
        """Replace the last one; raises Unavailable or OSError."""
        secret_file.write(self._path, json.dumps(probe.to_json()))


class RevocationProbing:
    """Measures every so often, in a thread of its own. make: makes the steps of one measurement at epoch seconds."""

    def __init__(self, make: Callable[[int], Steps], file: ProbeFile, every: float) -> None:
        """every: seconds from one measurement to the next, and until the first."""
        self._make, self._file, self._every = make, file, every
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
        """Measure once; what goes wrong is logged, and is an `unknown` that is kept where it can be."""
        now = int(time.time())
        try:
            found = revocation_probe.measure(self._make(now), WHERE, now, time.monotonic, time.sleep)
        except Unavailable as fault:
            found = self._unknown(now, fault.reason)
        except Exception as fault:  # noqa: BLE001  whatever it is: a thread that ends measures nothing from then on
            # SECURITY: its type alone, since its text may quote anything (test_a_fault_ends_no_measuring).
            found = self._unknown(now, type(fault).__name__)
        if found.outcome != "held":
            _LOG.warning(json.dumps({"door": NAME, **found.to_json()}))
        try:
            self._file.keep(found)
        except (Unavailable, OSError) as fault:
            _LOG.warning(json.dumps({"door": NAME, "reason": f"not kept: {type(fault).__name__}"}))

    @staticmethod
    def _unknown(now: int, reason: str) -> RevocationProbe:
        _LOG.warning(json.dumps({"door": NAME, "reason": reason}))
        return RevocationProbe(WHERE, now, "unknown", None, 0)
