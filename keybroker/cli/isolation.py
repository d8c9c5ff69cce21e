"""Keeps a program apart from what it could mint another identity with: in namespaces of its own, or as another user.

In namespaces (bubblewrap) it sees no other process and none of the hidden files, and set-user-ID programs do nothing. As
another user it can read neither our processes nor our files. Both leave it the network: also metadata addresses.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from keybroker.cli import identity_variables, own_process
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.login import store
from keybroker.sources.identity_request import LIMIT

_SESSIONS = "/run/user"
"""Sockets of the user's session: its manager starts programs outside of any wall."""
_TRY_SECONDS = 30
"""How long bubblewrap may take to start."""
_NAMESPACES = (
    *("--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"),
    *("--bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
)


@dataclass(frozen=True, slots=True)
class Started:
    """A program that was started. group: the process group that its signals go to, None for the process itself."""

    process: subprocess.Popen[bytes]
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Wall:
    """How a program is kept apart; by default it is not.

    namespaces: bubblewrap's command line up to the program's. identity: `user`, `group` and `extra_groups` of the process.
    variables: what is set anew for it.
    """

    namespaces: Sequence[str] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def start(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        stdout: int | None = None,
        stdin: IO[bytes] | None = None,
    ) -> Started:
        """Start a program. stdout: also for its stderr. Raises OSError, FileNotFoundError where there is no such program."""
        own = {**environ, **self.variables}
        if self.identity:
            own_process.gain_no_privileges()  # before the fork: what it starts inherits it
        if not self.namespaces:
            return Started(
                subprocess.Popen(command, env=own, stdin=stdin, stdout=stdout, stderr=stdout, **self.identity)  # noqa: S603  the user's command
            )
        if shutil.which(command[0], path=own.get("PATH", os.defpath)) is None:
            exists = os.path.lexists(command[0]) and os.sep in command[0]
            raise PermissionError(13, "Permission denied") if exists else FileNotFoundError(command[0])
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as told:
            # A group of its own: a Ctrl-C at the terminal would end bubblewrap itself, and the program with it at once.
            process = subprocess.Popen(  # noqa: S603  bubblewrap, and the user's command
                [*self.namespaces, "--info-fd", str(writing), "--", *command],
                env=own,
                stdin=stdin,
                stdout=stdout,
                stderr=stdout,
                pass_fds=[writing],
                process_group=0,
            )
            os.close(writing)
            return Started(process, _first_process(told))


def wall(environ: Mapping[str, str], *, isolate: bool, user: str | None) -> Wall:
    """Return how to keep a program apart. user: whom it shall run as.

    Raises CommandError where that cannot be done: there is never less than what was asked for.
    """
    if isolate and user:
        raise CommandError(LOCAL, "--isolate and --user exclude each other: namespaces, or another user")
    if user:
        return _as_user(user)
    return _in_namespaces(environ) if isolate else Wall()


def hidden(environ: Mapping[str, str], home: Path) -> tuple[str, ...]:
    """Return the files and folders that exist and have an identity, or that a variable names as such; none in another.

    A variable of any name counts if its file is an identity token: GitLab's file variables and projected tokens have such.
    """
    patterns = [one for platform in identity_variables.PLATFORMS.values() for one in platform.files]
    named = [environ[name].removeprefix("unix://") for name in identity_variables.FILE_VARIABLES if name in environ]
    login = store.folder(environ)
    tokens = [value for value in environ.values() if value.startswith("/") and _is_token_file(value)]
    candidates = [
        *tokens,
        *([] if login is None else [str(login)]),
        *(str(home / one[2:]) if one.startswith("~/") else os.path.abspath(one) for one in patterns),  # noqa: PTH100  needs no Path
        *(value for value in named if value.startswith("/")),
        _SESSIONS,
    ]
    found: list[str] = []
    for path in sorted({os.path.realpath(one) for one in candidates if os.path.exists(one)}):  # noqa: PTH110  needs no Path
        if path != "/" and not any(path.startswith(f"{folder}/") for folder in found):
            found.append(path)
    return tuple(found)


def _is_token_file(path: str) -> bool:
    try:
        if not os.path.isfile(path):  # noqa: PTH113  needs no Path
            return False
        with open(path, "rb") as file:  # noqa: PTH123  needs no Path
            return identity_variables.is_identity_token(file.read(LIMIT).decode("ascii", "replace"))
    except (OSError, ValueError):
        return False


def _in_namespaces(environ: Mapping[str, str]) -> Wall:
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        text = "--isolate needs bubblewrap, and there is no bwrap on PATH"
        raise CommandError(
            LOCAL, text, "install it (apt install bubblewrap), or run as another user with --user, as root"
        )
    command = [bubblewrap, *_NAMESPACES, *_covers(hidden(environ, Path.home()))]
    # Once for nothing: bubblewrap's own failure could later not be told from the program's.
    said = _failure([*command, "--", "true"])
    if said:
        advice = "allow user namespaces for it, or run as another user with --user, as root"
        raise CommandError(LOCAL, f"--isolate: bubblewrap does not work here: {said}", advice)
    return Wall(command)


def _failure(command: Sequence[str]) -> str:
    """Run a command that does nothing, and return why it failed, "" if it did not."""
    try:
        tried = subprocess.run(  # noqa: S603  bubblewrap
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_TRY_SECONDS} s"
    if not tried.returncode:
        return ""
    return tried.stderr.decode("utf-8", "replace").strip() or f"exit code {tried.returncode}"


def _covers(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        yield from ("--tmpfs", path) if os.path.isdir(path) else ("--ro-bind", os.devnull, path)  # noqa: PTH112  needs no Path


def _as_user(name: str) -> Wall:
    try:
        import pwd  # noqa: PLC0415  only where there are such users
    except ImportError:
        raise CommandError(LOCAL, "--user works on Linux and macOS only") from None
    if os.geteuid() != 0:
        raise CommandError(LOCAL, "--user needs root: only root may run a program as another user", "or use --isolate")
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise CommandError(LOCAL, f"--user: there is no user {name!r}") from None
    if found.pw_uid == 0:
        raise CommandError(LOCAL, f"--user: {name} is root, whom nothing keeps out")
    identity = {
        "user": found.pw_uid,
        "group": found.pw_gid,
        "extra_groups": os.getgrouplist(name, found.pw_gid),
    }
    return Wall((), identity, {"HOME": found.pw_dir, "USER": name, "LOGNAME": name})


def _first_process(told: IO[bytes]) -> int | None:
    """Return the process that leads the program's session, as bubblewrap tells it; None if it failed before."""
    said = b""
    while not said.rstrip().endswith(b"}"):
        chunk = os.read(told.fileno(), 4096)
        if not chunk:
            return None
        said += chunk
    pid = json.loads(said).get("child-pid")
    return pid if isinstance(pid, int) else None
