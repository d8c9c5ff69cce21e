"""HTTP over a UNIX socket of this machine, such as the one where `keybroker serve` has its administration."""

from __future__ import annotations

import os
import socket
import stat
from http.client import HTTPConnection

from keybroker.errors import NotConfigured

_PREFIX = "unix:"
BASE = "http://localhost"
"""What requests are signed for that go through a socket."""


def path_of(url: str) -> str:
    """Return the socket's path in `unix:PATH`, "" for any other URL; raises NotConfigured for no path."""
    if not url.startswith(_PREFIX):
        return ""
    path = url.removeprefix(_PREFIX)
    if not path or "\0" in path:
        raise NotConfigured("a UNIX socket is named by its path: unix:/run/keybroker/admin.sock")
    return path


class UnixConnection(HTTPConnection):
    """A connection to a socket that is this user's, or root's: nobody else can be the server there."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect; raises OSError, PermissionError for a socket of another user."""
        status = os.stat(self._path)  # noqa: PTH116  a path as it was given
        if not stat.S_ISSOCK(status.st_mode):
            raise OSError("it is no socket")
        # SECURITY: who asks sends provider keys, so another user's program must not be who answers
        # (test_a_socket_of_another_user_is_refused).
        if status.st_uid not in _trusted(self._path):
            raise PermissionError(f"the socket belongs to user {status.st_uid}, who may be anybody")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _trusted(path: str) -> set[int]:
    """Return who may listen: this user and root; for root also who owns the directory, since a server runs as its own user."""
    me = os.geteuid()
    return {0, me} if me else {0, os.stat(os.path.dirname(os.path.abspath(path))).st_uid}  # noqa: PTH100, PTH116, PTH120  as above
