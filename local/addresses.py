"""Where a door listens: an IP address and a port, or a UNIX socket."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

_UNIX = "unix:"
_LONGEST_PATH = 107
"""Bytes of a UNIX socket's path, as Linux has it; elsewhere they are fewer."""


@dataclass(frozen=True, slots=True)
class Listen:
    """An IP address and a port (0: any that is free); or the path of a UNIX socket, and neither."""

    host: str
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.path is not None or ipaddress.ip_address(self.host).is_loopback

    @property
    def is_url(self) -> bool:
        """Whether a URL can be made of it: not of every address of this machine, and not of one in brackets."""
        return self.path is not None or not (ipaddress.ip_address(self.host).is_unspecified or ":" in self.host)


def parse(text: str, directory: Path) -> Listen:
    """Read `127.0.0.1:8080`, `[::1]:8080` or `unix:PATH`, which is relative to a directory; raises ValueError."""
    if text.startswith(_UNIX):
        return Listen("", 0, directory / text.removeprefix(_UNIX))
    host, colon, port = text.rpartition(":")
    if not (colon and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise ValueError("no port")
    bare = host.removeprefix("[").removesuffix("]")
    if (":" in bare) != (host == f"[{bare}]"):
        raise ValueError("an IPv6 address stands in brackets")
    return Listen(str(ipaddress.ip_address(bare)), int(port))


def bind(name: str, listen: Listen, backlog: int) -> socket.socket:
    """Return a listening socket that does not block. name: of the door, for errors. Raises OSError in one line."""
    family = socket.AF_UNIX if listen.path is not None else socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        if listen.path is None:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((listen.host, listen.port))
        else:
            _bind_path(one, listen.path)
        one.listen(backlog)
    except (OSError, ValueError) as error:
        one.close()
        raise _refused(name, listen, error) from error
    one.setblocking(False)  # noqa: FBT003  the socket module's own signature
    return one


def check(name: str, listen: Listen) -> None:
    """Raise what `bind` would raise, if anything, and leave nothing there. name: of the door."""
    try:
        if listen.path is not None:
            _check_path(listen.path)
            return
        with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET)) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Without listen(), which is what would keep a server out that starts meanwhile.
            one.bind((listen.host, listen.port))
    except OSError as error:
        raise _refused(name, listen, error) from error


def _refused(name: str, listen: Listen, error: OSError | ValueError) -> OSError:
    why = (error.strerror if isinstance(error, OSError) else "") or error
    at = f"port {listen.port}" if listen.host == "127.0.0.1" else str(listen)
    number = (error.errno if isinstance(error, OSError) else None) or errno.EINVAL
    return _AddressError(number, f"{at} is in use or not allowed for the {name} ({why})")


class _AddressError(OSError):
    """An address at which a door cannot listen, in one line; `errno` is why."""

    def __str__(self) -> str:
        return str(self.strerror)


def _check_path(path: Path) -> None:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, f"over {_LONGEST_PATH} bytes")
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode) or _is_served(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    elif not path.parent.is_dir():
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _bind_path(one: socket.socket, path: Path) -> None:
    """Bind a UNIX socket that its owner alone may connect to, in place of one that nobody listens at any more."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _is_served(path):
        path.unlink()
    # SECURITY: closed to others from the start, not by a chmod after it (test_a_unix_socket_is_its_owners).
    before = os.umask(0o177)
    try:
        one.bind(str(path))
    finally:
        os.umask(before)


def _is_served(path: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.setblocking(False)  # noqa: FBT003  the socket module's own signature
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # whose server has as many that wait as it takes: it may be stopped, not gone
            return True
        return True
