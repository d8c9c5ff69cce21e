"""Looks around as a program of `keybroker exec` could, and prints which doors to another identity are open.

`keybroker doctor --child` runs it in such a program's place: `python -P -m keybroker.cli.child_probe`. Standard input has a JSON
object: `files` to read, `steps` that later steps of a CI job read, and whether it is `walled`. The answer is a JSON list of
[kind, text]; no value of a variable or a file is in it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from keybroker.cli import identity_variables

ADDRESSES = (
    ("169.254.169.254", "EC2, Google Cloud, Azure"),
    ("fd00:ec2::254", "EC2"),
    ("169.254.170.2", "ECS"),
    ("169.254.170.23", "EKS Pod Identity"),
    ("fd00:ec2::23", "EKS Pod Identity"),
)
"""Where clouds hand out identities, over HTTP."""
SECONDS = 0.2
"""Within which a metadata address has to answer, counted for all of them together."""
_SUDO_SECONDS = 5.0


def doors(files: Sequence[str], steps: Sequence[str], *, walled: bool) -> Iterator[tuple[str, str]]:
    """Yield the doors that are open."""
    yield from (("variable", f"the variable {name}") for name in _identities(os.environ))
    yield from (("file", f"the file {path}") for path in files if _opens(path))
    yield from (("file", f"the file {path}, which later steps read") for path in steps if _can_be_written(path))
    yield from _git_credentials(Path.cwd())
    yield from (("address", f"the address {host} ({what})") for host, what in ADDRESSES if host in answering(_hosts()))
    yield from _ancestors()
    if not walled and _opens(f"/proc/{os.getppid()}/mem", read=False):
        yield "process", "the memory of the process that started it"
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        yield "root", "it runs as root"
    elif _sudo_works():
        yield "root", "sudo works without a password"


def answering(hosts: Sequence[tuple[str, int]], seconds: float = SECONDS) -> set[str]:
    """Return the hosts that answer an HTTP request in time. hosts: with their ports; all are asked at once."""
    answered: set[str] = set()
    ends = time.monotonic() + seconds
    threads = [threading.Thread(target=_ask, args=(host, ends, answered), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    return set(answered)


def _ask(host: tuple[str, int], ends: float, answered: set[str]) -> None:
    try:
        with socket.create_connection(host, max(0.001, ends - time.monotonic())) as connection:
            connection.settimeout(max(0.001, ends - time.monotonic()))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if connection.recv(1):
                answered.add(host[0])
    except OSError:
        pass  # nothing is there


def _hosts() -> list[tuple[str, int]]:
    return [(host, 80) for host, _ in ADDRESSES]


def _identities(environ: Mapping[str, str]) -> list[str]:
    found = (
        name
        for name, value in environ.items()
        if identity_variables.by_name(name) or identity_variables.is_identity_token(value)
    )
    return sorted(found)


def _opens(path: str, *, read: bool = True) -> bool:
    """Return whether there is something in a file or a folder, or someone at a socket."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  needs no Path
        if stat.S_ISDIR(mode):
            with os.scandir(path) as entries:
                return next(entries, None) is not None
        if stat.S_ISSOCK(mode):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
            return True
        with open(path, "rb") as file:  # noqa: PTH123  needs no Path
            return not read or file.read(1) != b""
    except OSError:
        return False


def _can_be_written(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.W_OK)  # noqa: PTH116  needs no Path
    except OSError:
        return False


def _git_credentials(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the configuration of a checkout in which a CI left its token."""
    for one in (folder, *folder.parents):
        path = one / ".git" / "config"
        try:
            text = path.read_text(encoding="utf-8", errors="replace").lower()
        except OSError:
            continue
        if "extraheader" in text or "gitlab-ci-token:" in text:
            yield "file", f"the file {path}, which has the job's token"
        return


def _ancestors() -> Iterator[tuple[str, str]]:
    """Yield the processes above this one whose environment can be read, and has an identity."""
    pid = os.getppid()
    while pid > 0:
        try:
            status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            name, _, rest = status.partition("(")[2].rpartition(")")
        except OSError:
            return
        found = _identities(_environ_of(pid))
        if found:
            yield "process", f"the environment of process {pid} ({name}): {', '.join(found)}"
        pid = int(rest.split()[1])


def _environ_of(pid: int) -> dict[str, str]:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(one).partition("=") for one in content.split(b"\0") if b"=" in one)
    return {name: value for name, _, value in pairs}


def _sudo_works() -> bool:
    sudo = shutil.which("sudo")
    if sudo is None:
        return False
    try:
        done = subprocess.run(  # noqa: S603  sudo, which runs nothing but `true`
            [sudo, "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SUDO_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    sys.stdout.write(json.dumps(list(doors(asked["files"], asked["steps"], walled=asked["walled"]))))
