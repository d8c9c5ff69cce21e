"""What a state directory has to be before it is used: whole, and nobody else's to change."""

from __future__ import annotations

import os
from pathlib import Path

from local import directory_lock, restoring, secret_file
from local.errors import RealKeysHere, StateFileMissing, StateOfAnotherUser, StateOpenToOthers
from local.provider_key_file import ProviderKeyFile, is_practice

SEALED = ("signing-key.pem", "provider-keys.json", "federation-keys.json")
"""The files that are sealed where anything is named to seal them by."""


def check_state_file(directory: Path) -> None:
    """Raise StateFileMissing where there is a signing key and no state."""
    # SECURITY: a new state file would not have the revocations of tokens that the signing key still verifies
    # (test_missing_state_file_beside_its_key).
    state = directory / "state.db"
    if (directory / "signing-key.pem").exists() and not (state.exists() and state.stat().st_size):
        raise StateFileMissing(hint=f"{state} is missing: restore it, or delete the whole directory to start afresh")


def check_owner(directory: Path) -> None:
    """Raise StateOfAnotherUser unless a directory is this user's."""
    # SECURITY: root, too, would follow a link that the directory's owner put there (test_the_owner_alone).
    owner = directory.stat().st_uid
    if owner != os.geteuid():
        raise StateOfAnotherUser(hint=f"{directory} belongs to user {owner}: run this as that user, such as by sudo -u")


def check_modes(directory: Path) -> None:
    """Raise StateOpenToOthers if anybody but root and this user may change the directory, or read its state."""
    # SECURITY: a user who may write here can remove revocations, and replace a file after its check
    # (test_a_state_that_others_may_change_is_refused).
    for path, closed in ((directory, 0o022), (directory / "state.db", 0o077)):
        status = path.stat() if path.exists() else None
        if status and (status.st_mode & closed or status.st_uid not in (0, os.geteuid())):
            raise StateOpenToOthers(
                hint=f"{path} must be accessible to its owner alone: chown it to the user that runs this, and chmod go-rwx"
            )


def hold(directory: Path) -> None:
    """Hold a directory until this process ends, and finish what was cut off in it; raises StateInUse, or as `restoring.finish`."""
    directory_lock.hold(directory)
    restoring.finish(directory)
    remove_leftovers(directory)


def remove_leftovers(directory: Path) -> None:
    """Remove what writes and commands that were killed have left, keys included; the caller holds the directory."""
    restoring.remove_leftovers(directory)
    for name in SEALED:
        secret_file.remove_leftovers(directory / name)


def check_no_real_keys(directory: Path) -> None:
    """Raise RealKeysHere if there is a key of a real provider."""
    # SECURITY: a start without --no-practice must neither delete real keys nor replace the policy beside them
    # (test_practice_over_real_keys_is_refused).
    if not all(map(is_practice, ProviderKeyFile(directory / "provider-keys.json").origins())):
        raise RealKeysHere(
            hint=f"{directory} contains real provider keys: start with --no-practice, or use another directory"
        )
