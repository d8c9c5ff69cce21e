"""Backs up a state directory, while it serves or not, and checks a backup or a directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chalicelib.errors import Unavailable
from local import backup_file, sealing, secret_file, state_directory
from local.administrators import Administrators
from local.backup_file import Manifest
from local.errors import BackupUnusable, BackupUnwritable, ProviderKeyMissing
from local.machine import Machine
from local.provider_key_file import ProviderKeyFile
from local.signing_key_file import SigningKeyFile
from local.sqlite import snapshot

_SCRATCH = ".keybroker-backup-"
_OTHERS = (
    "signing-key.pem",
    "provider-keys.json",
    "federation-keys.json",
    "admin.json",
    "aws-callers.json",
    "urls.json",
)


def back_up(machine: Machine, path: Path, now: int) -> int:
    """Write a new backup of a state directory as it is at one moment, and return its size in bytes.

    It appears whole or not at all. Raises Unavailable; FileExistsError, or another OSError.
    """
    state_directory.check_modes(machine.directory)
    if path.exists():
        raise BackupUnwritable(hint=f"{path} is there already: name another file")
    if not path.absolute().parent.is_dir():
        raise BackupUnwritable(hint=f"{path.absolute().parent} is no directory: make it, or name another place")
    with scratch_beside(path) as scratch:
        copied = scratch / "files"
        _copy(machine, copied)
        _check_copy(machine, copied)
        backup_file.write(scratch / "backup", copied, now)
        # Before it appears: there is no backup that the audit does not have.
        machine.ledger().record(machine.event("state.backed_up", {"file": str(path.absolute())[:300]}))
        try:
            os.link(scratch / "backup", path)  # unlike a rename, it replaces nothing
        except FileExistsError:
            raise BackupUnwritable(hint=f"{path} is there already: name another file") from None
        secret_file.sync(path.absolute().parent)
    return path.stat().st_size


def check_backup(path: Path, scratch: Path) -> Manifest:
    """Unpack a backup into an empty directory and read all of it; raises Unavailable or OSError for what is of no use."""
    manifest = backup_file.unpack(path, scratch)
    snapshot.check_file(scratch / "state.db")
    check_files(scratch)
    return manifest


def check_files(directory: Path) -> None:
    """Read every file of a state directory beside the state itself; raises Unavailable for one that is of no use."""
    SigningKeyFile(directory / "signing-key.pem")
    ProviderKeyFile(directory / "provider-keys.json").origins()
    for one in Administrators(directory, practising=False).all():
        if isinstance(one, Unavailable):
            raise one


def check_values(machine: Machine) -> None:
    """Raise ProviderKeyMissing for a state that names a key's value which is not there."""
    if lost := machine.keys_lost():
        hint = f"{machine.directory / 'provider-keys.json'} lacks what is in force of {', '.join(lost)}"
        raise ProviderKeyMissing(hint=f"{hint}: restore a backup, or set it anew (keybroker keys set)")


def _copy(machine: Machine, to: Path) -> None:
    to.mkdir(mode=0o700)
    with contextlib.ExitStack() as moment:
        # What the state says is in force is in the file, and the other way round; and nobody seals the keys anew meanwhile.
        with ProviderKeyFile(machine.directory / "provider-keys.json").unchanging():
            connection = moment.enter_context(snapshot.moment(machine.state_file()))
            _copy_files(machine.directory, to)
        # A restore, which would replace them, is kept out by the connection until all is copied.
        snapshot.copy(connection, to / "state.db")


def _copy_files(source: Path, to: Path) -> None:
    """Copy everything but the state itself."""
    for name in _OTHERS:
        if (source / name).exists():
            text = (source / name).read_text() if name == "urls.json" else secret_file.read(source / name)
            secret_file.write(to / name, text)
    if not (to / "provider-keys.json").exists():
        secret_file.write(to / "provider-keys.json", "{}")
    for path in Administrators(source, practising=False).files().values():
        if path.parent != source:
            (to / "admins").mkdir(mode=0o700, exist_ok=True)
            secret_file.write(to / "admins" / path.name, secret_file.read(path))


def _check_copy(machine: Machine, copied: Path) -> None:
    """Raise BackupUnusable for a copy that no restore would take: a backup that is acknowledged can be restored."""
    missing = sorted(one for one in backup_file.NEEDED if not (copied / one).exists())
    if missing:
        raise BackupUnusable(hint=f"the directory lacks {', '.join(missing)}")
    snapshot.check_file(copied / "state.db")
    keys = (secret_file.read(copied / name) for name in state_directory.SEALED if (copied / name).exists())
    if not any(map(sealing.is_sealed, keys)):  # else that needs what opens them
        check_files(copied)
        check_values(machine)


@contextlib.contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Make a directory beside a backup, mode 0700, and remove it and those that killed commands of ours left there."""
    parent = path.absolute().parent
    for left in parent.glob(f"{_SCRATCH}*"):
        status = left.lstat()
        # Others may have made what is called so in a directory that is for everybody: it is none of our business.
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            with contextlib.suppress(BlockingIOError), _held(left):
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=parent) as made, _held(Path(made)):
        yield Path(made)


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold a directory until the end or the death of this process; raises BlockingIOError if another one does."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
