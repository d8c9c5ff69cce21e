"""A backup: one tar file of mode 0600. Its first member, `manifest.json`, has each other's size and SHA-256.

`{"keybroker_backup": 1, "taken": epoch seconds, "schema": the state file's version, "files": {NAME: {"bytes", "sha256"}}}`
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path

from local.errors import BackupNewer, BackupUnusable, SecretFileOpenToOthers, StateOfAnotherUser
from local.sqlite import schema

FORMAT = 1
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 1024 * 1024
_PIECE = 1024 * 1024
# SECURITY: no other name is written, so that no backup writes outside of its directory (test_a_name_leads_nowhere_else).
_NAME = re.compile(
    r"state\.db|signing-key\.pem|(provider-keys|federation-keys|admin|aws-callers|urls)\.json|admins/[a-z][a-z0-9._-]{0,63}\.json"
)
NEEDED = frozenset({"state.db", "signing-key.pem", "provider-keys.json", "urls.json"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. taken: epoch seconds. files: by name, bytes and SHA-256."""

    taken: int
    schema: int
    files: dict[str, tuple[int, str]]


def write(path: Path, directory: Path, taken: int) -> None:
    """Write all files of a state directory to a new backup, which is on the disk then; raises OSError."""
    found = (str(one.relative_to(directory)) for one in directory.rglob("*") if one.is_file())
    names = sorted(filter(_NAME.fullmatch, found))  # no lock of who has read it
    files = {name: {"bytes": (directory / name).stat().st_size, "sha256": _hash(directory / name)} for name in names}
    manifest = {"keybroker_backup": FORMAT, "taken": taken, "schema": schema.VERSION, "files": files}
    with (
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        tarfile.open(fileobj=file, mode="w") as tar,
    ):
        text = json.dumps(manifest, indent=1).encode()
        tar.addfile(_member(_MANIFEST, len(text), taken), io.BytesIO(text))
        for name in names:
            with (directory / name).open("rb") as content:
                tar.addfile(_member(name, (directory / name).stat().st_size, taken), content)
        tar.close()
        file.flush()
        os.fsync(file.fileno())


def unpack(path: Path, directory: Path) -> Manifest:
    """Write a backup's files to a directory that is there and empty, and return what it says of itself.

    Raises BackupUnusable unless each is there as it was written; BackupNewer; SecretFileOpenToOthers; OSError.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BackupUnusable(hint=f"{path} is no file; a state directory is named by --state")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise SecretFileOpenToOthers(hint=f"{path} holds keys: chmod 600 it")
        # SECURITY: what another user has written here would be in force, epochs, keys and administrators
        # (test_the_backup_of_another_user).
        if status.st_uid not in (0, os.geteuid()):
            raise StateOfAnotherUser(hint=f"{path} belongs to user {status.st_uid}: take one of your own, or chown it")
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                manifest = _read_manifest(tar)
                found = [_unpack(tar, member, manifest, directory) for member in _others(tar)]
        except tarfile.TarError as error:
            raise BackupUnusable(hint=f"{path} is cut off, or no backup: {error}") from error
    if sorted(found) != sorted(manifest.files):
        raise BackupUnusable(hint=f"{path} is cut off: it lacks {', '.join({*manifest.files} - {*found}) or 'its end'}")
    return manifest


def _others(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    return [member for member in tar if member.name != _MANIFEST]


def _read_manifest(tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    content = tar.extractfile(first) if first and first.name == _MANIFEST and first.size <= _MANIFEST_LIMIT else None
    if content is None:
        raise BackupUnusable(hint="it does not begin with a manifest: it is no backup of Keybroker's")
    try:
        told = json.loads(content.read())
        version = _integer(told["keybroker_backup"])
        if version > FORMAT or _integer(told["schema"]) > schema.VERSION:
            raise BackupNewer(
                hint=f"it has format {version} and state version {told['schema']}, and this Keybroker knows {FORMAT} and"
                f" {schema.VERSION}: run the newer one"
            )
        files = {str(name): (_integer(one["bytes"]), str(one["sha256"])) for name, one in told["files"].items()}
        manifest = Manifest(_integer(told["taken"]), _integer(told["schema"]), files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BackupUnusable(hint="its manifest is malformed") from None
    if not files.keys() >= NEEDED or not all(map(_NAME.fullmatch, files)):
        raise BackupUnusable(hint="its manifest names other files than a state directory's")
    return manifest


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, manifest: Manifest, directory: Path) -> str:
    """Write one member, of the size and content that the manifest says, and return its name."""
    expected = manifest.files.get(member.name)
    content = tar.extractfile(member) if member.isreg() else None
    if expected is None or content is None or member.size != expected[0]:
        raise BackupUnusable(hint=f"{member.name!r} is not as its manifest says")
    target = directory / member.name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        hashed = hashlib.sha256()
        while piece := content.read(_PIECE):
            hashed.update(piece)
            file.write(piece)
    if hashed.hexdigest() != expected[1]:
        raise BackupUnusable(hint=f"{member.name} was damaged since it was written")
    return member.name


def _member(name: str, size: int, taken: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, taken
    return member


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _integer(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("not a number")
    return value
