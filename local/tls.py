"""TLS from two files: what they hold is checked before it is served, and renewed while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from cryptography import x509

from local.configuration import TlsFiles
from local.errors import CertificateExpired, TlsUnusable

_SIZE_LIMIT = 64 * 1024
"""Bytes of a file: some thirty certificates."""
_NAME = 100
"""Characters that are shown of whose a certificate is."""
_DAY = 86400
_WARN_DAYS = 14
"""Days before its end from which on a certificate is warned about; at most a sixth of its lifetime."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain and its key, as they were read at one time: PEM.

    begins, ends: of its validity, epoch seconds. first_issuer_ends: when the first of the chain's others ends, and its name;
    None: there are no others.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    begins: int
    ends: int
    first_issuer_ends: tuple[int, str] | None = None

    @classmethod
    def read(cls, files: TlsFiles, now: float) -> Pair:
        """Read the files; raises TlsUnusable, or CertificateExpired. now: epoch seconds."""
        texts = []
        for path in (files.certificate, files.key):
            try:
                if path.is_fifo():  # to open it would wait for who writes it
                    raise TlsUnusable(hint=f"{path} is no file")
                with path.open("rb") as file:
                    texts.append(file.read(_SIZE_LIMIT + 1))
            except OSError as error:
                raise TlsUnusable(hint=f"{path} cannot be read: {error.strerror}") from error
            if len(texts[-1]) > _SIZE_LIMIT:
                raise TlsUnusable(hint=f"{path} is over {_SIZE_LIMIT} bytes")
        try:
            found, *issuers = x509.load_pem_x509_certificates(texts[0])
        except ValueError:
            raise TlsUnusable(hint=f"{files.certificate} holds no certificate in PEM") from None
        begins, ends = int(found.not_valid_before_utc.timestamp()), _end(found)[0]
        if ends <= now:
            raise CertificateExpired(hint=f"{files.certificate} expired on {when(ends)}: renew it")
        pair = cls(texts[0], texts[1], begins, ends, min(map(_end, issuers), default=None))
        try:
            pair.context()
        except (ssl.SSLError, ValueError):
            # SECURITY: no cause, which could quote the key (test_a_key_is_not_quoted).
            text = (
                f"{files.key} is not the private key of {files.certificate}, or it is encrypted, or the chain is broken"
            )
            raise TlsUnusable(hint=text) from None
        return pair

    def warning(self, path: Path, now: float) -> str | None:
        """Return what is to be said of a certificate that ends soon, has ended or has not begun. path: of its file. now: epoch seconds."""
        left = self.ends - now
        if now < self.begins:
            return (
                f"{path} is valid from {when(self.begins)} on, and callers refuse it until then: look at the clock, too"
            )
        if left <= 0:
            return f"{path} expired on {when(self.ends)}, and callers refuse it: renew it"
        # One that lives for days is renewed in its last ones as a matter of course.
        if left > min(_WARN_DAYS * _DAY, (self.ends - self.begins) / 6):
            return self._chain_warning(path, now)
        return f"{path} expires on {when(self.ends)}, in {_span(left)}: renew it"

    def _chain_warning(self, path: Path, now: float) -> str | None:
        """Return what is to be said of the chain where it ends before the certificate."""
        ends, name = self.first_issuer_ends or (self.ends, "")
        left = ends - now
        if ends >= self.ends or left > _WARN_DAYS * _DAY:
            return None
        # No more than a warning: a chain may hold one that callers with newer roots do without.
        if left <= 0:
            return f"{path}: {name} in its chain expired on {when(ends)}, and callers may refuse it: renew the chain"
        return f"{path}: {name} in its chain expires on {when(ends)}, in {_span(left)}: renew the chain"

    def over(self, now: float) -> tuple[tuple[int, bool], ...]:
        """Return when it and the first of its chain end, and whether they have."""
        ends = (self.ends, *([self.first_issuer_ends[0]] if self.first_issuer_ends else []))
        return tuple((end, now >= end) for end in ends)

    def context(self) -> ssl.SSLContext:
        """Return a server's context; raises ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with _named(self.certificate) as certificate, _named(self.key) as key:
            # A passphrase of nobody's, or OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password="")
        return context


class Listener:
    """The context of a listening socket, whose certificate can be another one from the next connection on."""

    def __init__(self, pair: Pair) -> None:
        self.context = pair.context()
        self._current = self.context
        # OpenSSL asks for each connection, also where the client names no server.
        self.context.sni_callback = self._choose

    def use(self, pair: Pair) -> None:
        """Serve this from the next connection on."""
        self._current = pair.context()

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current


class Renewal:
    """Looks whether the files have changed. pair: what was read last and can be used."""

    def __init__(self, files: TlsFiles, clock: Callable[[], float]) -> None:
        """Read the files; raises TlsUnusable or CertificateExpired."""
        self._files = files
        self._clock = clock
        self._seen = self._look()
        self.pair = Pair.read(files, clock())
        self._warned: tuple[object, float] | None = None

    def renew(self, *, asked: bool) -> bool:
        """Read the files again if they have changed, or if that was asked for; whether they were read.

        Raises TlsUnusable or CertificateExpired, once for each change; `pair` stays as it was.
        """
        seen = self._look()
        if seen == self._seen and not asked:
            return False
        self._seen = seen
        self.pair = Pair.read(self._files, self._clock())
        return True

    def warning(self) -> str | None:
        """Return what is to be said of the certificate that is served, once a day; None: nothing."""
        now = self._clock()
        what = self.pair.over(now)
        if self._warned and self._warned[0] == what and 0 <= now - self._warned[1] < _DAY:
            return None
        found = self.pair.warning(self._files.certificate, now)
        self._warned = (what, now) if found else None
        return found

    def _look(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in (self._files.certificate, self._files.key):
            try:
                status = path.stat()
                found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError as error:
                found.append(error.errno)
        return tuple(found)


def tls_listener(pair: Pair | None, parent: Connection) -> Listener | None:
    """Return what serves TLS with this pair, and from then on with each that comes from the parent; None without one."""
    if pair is None:
        return None
    listener = Listener(pair)
    asyncio.get_running_loop().add_reader(parent.fileno(), _take, listener, parent)
    return listener


def _take(listener: Listener, parent: Connection) -> None:
    """Serve the pair that comes from the next connection on."""
    try:
        listener.use(parent.recv())
    except (EOFError, OSError):  # it has died, and this process is about to
        asyncio.get_running_loop().remove_reader(parent.fileno())


def _end(one: x509.Certificate) -> tuple[int, str]:
    """Return when a certificate ends, epoch seconds, and whose it is."""
    return int(one.not_valid_after_utc.timestamp()), one.subject.rfc4514_string()[:_NAME]


def when(seconds: int) -> str:
    """Return a time as text, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span(seconds: float) -> str:
    days, hours = int(seconds // _DAY), int(seconds // 3600)
    number, unit = (days, "day") if days else (hours, "hour")
    return f"{number} {unit}{'' if number == 1 else 's'}" if number else "less than an hour"


@contextlib.contextmanager
def _named(text: bytes) -> Iterator[str]:
    """Yield the name of a file with this text, which nobody else can open: OpenSSL reads files alone."""
    with _in_memory() as file:
        file.write(text)
        file.flush()
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _in_memory() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("keybroker-tls"), "w+b")
    return tempfile.TemporaryFile()
