"""Seals the keys of a state directory by something else, or by nothing: both files, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from local import directory_lock, restoring, sealing, secret_file, state_directory
from local.machine import Machine
from local.provider_key_file import ProviderKeyFile
from local.sealing import Sealing
from local.state_directory import SEALED, check_owner


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a seal did. files: those that it wrote. copies: what holds the keys as they were before, in this directory."""

    files: tuple[str, ...]
    copies: tuple[Path, ...]


def seal(machine: Machine, by: Sealing | None) -> Outcome:
    """Seal the keys anew, whatever they are sealed by that the environment names. by: None for in the clear.

    Raises Unavailable or OSError, and then they are as they were; StateInUse while a server uses the directory.
    """
    directory = machine.directory
    check_owner(directory)
    directory_lock.hold(directory)  # a server would go on reading and writing by what it was started with
    state_directory.check_modes(directory)
    restoring.finish(directory)
    # SECURITY: a write that was killed leaves keys beside their file, and in the clear if they were
    # (test_nothing_is_left_in_the_clear).
    state_directory.remove_leftovers(directory)
    texts = {name: secret_file.read(directory / name) for name in SEALED if (directory / name).exists()}
    # Both are opened before anything is written, so that a wrong passphrase changes nothing.
    named = sealing.named()
    plain = {name: sealing.opened(directory / name, text, named) for name, text in texts.items()}
    machine.ledger().record(machine.event("state.sealed", {"by": by.kind if by else "nothing"}))
    with ProviderKeyFile(directory / "provider-keys.json").unchanging():  # a backup has both files of before, or of now
        _replace(directory, plain, by)
    copies = sorted(directory.glob("before-restore-*"))
    return Outcome(tuple(plain), tuple(copies))


def _replace(directory: Path, plain: dict[str, str], by: Sealing | None) -> None:
    with restoring.made_ready(directory, "seal") as coming:
        for name, text in plain.items():
            secret_file.write(coming / name, by.seal(name, text) if by else text)
        restoring.begin(directory, coming, "")
        restoring.finish(directory)


def sealed_by(directory: Path) -> str | None:
    """Return by what the keys of a directory are sealed, `passphrase` or `kms`; None if any is in the clear."""
    kinds = {sealing.kind(secret_file.read(directory / name)) for name in SEALED if (directory / name).exists()}
    return kinds.pop() if len(kinds) == 1 else None
