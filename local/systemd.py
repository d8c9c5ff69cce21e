"""What systemd hands to a service and is told by it: sd_listen_fds(3) and sd_notify(3).

Without systemd the environment says nothing, and nothing is told.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import MutableMapping

from local.addresses import Listen

_FIRST = 3
"""The first descriptor that is handed over."""
_LOG = logging.getLogger("keybroker")


class Handed:
    """The listening sockets that were handed over, which stay open elsewhere while this process restarts."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Handed:
        """Take what the environment names, and remove it there: children are handed nothing. Raises OSError in one line."""
        named = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
        # SECURITY: what was meant for another process is not ours, whatever lies at these numbers
        # (test_what_is_meant_for_another_process_is_left).
        if named["LISTEN_PID"] != str(os.getpid()) or not named["LISTEN_FDS"].isdecimal():
            return cls([])
        return cls([_listening(_FIRST + number) for number in range(int(named["LISTEN_FDS"]))])

    def find(self, listen: Listen) -> socket.socket | None:
        """Return the socket that listens at an address, once; None if none was handed over.

        Raises OSError for a UNIX socket that every user of this machine may connect to, as systemd makes them unless told.
        """
        wanted = str(listen.path) if listen.path is not None else (listen.host, listen.port)
        for one in self._sockets:
            name = one.getsockname()
            if (name if isinstance(name, str) else name[:2]) == wanted:
                # SECURITY: not more open than one that is made here (test_a_unix_socket_is_not_everybody_s).
                if listen.path is not None and listen.path.stat().st_mode & stat.S_IWOTH:
                    raise OSError(f"{listen} is open to every user of this machine: say SocketMode=0600 in its unit")
                self._sockets.remove(one)
                return one
        return None

    def check_all_found(self) -> None:
        """Raise OSError if a socket was handed over at which no door listens: its callers would wait for ever."""
        if self._sockets:
            names = ", ".join(_shown(one.getsockname()) for one in self._sockets)
            raise OSError(
                f"systemd hands over a socket at {names}, where no door listens: name it in the configuration"
            )


def _shown(name: object) -> str:
    """Return a socket's name as a configuration has it."""
    if not isinstance(name, tuple):
        return f"unix:{name}"
    return str(Listen(*name[:2]))


def notify(*states: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell systemd, such as `READY=1`. What cannot be told is logged: systemd then acts as if it had not happened."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
            one.settimeout(5)
            # A name that begins with @ is in no file system.
            one.connect(f"\0{path[1:]}" if path.startswith("@") else path)
            one.sendall("\n".join(states).encode())
    except OSError as error:
        _LOG.warning("systemd cannot be told %s: %s", states[0], error)


def _listening(number: int) -> socket.socket:
    try:
        one = socket.socket(fileno=number)
        listens = one.type == socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise OSError(f"descriptor {number}, which LISTEN_FDS names, is no socket ({error.strerror})") from error
    if not listens:
        raise OSError(f"descriptor {number}, which LISTEN_FDS names, does not listen")
    one.set_inheritable(False)
    one.setblocking(False)  # noqa: FBT003  the socket module's own signature
    return one
