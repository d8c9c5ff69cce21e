"""The administrators of one machine: a file of mode 0600 for each, with AWS credentials that are theirs alone.

The first has `admin.json`, the others `admins/NAME.json`. They are read again for each request: who is removed is refused
from the next one on.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chalicelib.errors import Unavailable
from local import secret_file
from local.errors import AdministratorMalformed, SecretFileOpenToOthers

FIRST, PRACTICE = "admin", "practice-admin"
"""What the first administrator is called, for real and while the practice parts run."""
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Administrator:
    """One of them. created: epoch seconds, 0 if that was not recorded. file: where the credentials are."""

    name: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    created: int
    file: Path


class Administrators:
    """Those of a state directory. practising: whether the practice parts run."""

    def __init__(self, directory: Path, *, practising: bool) -> None:
        self._first = directory / "admin.json"
        self._others = directory / "admins"
        self._practising = practising

    def create_first(self) -> None:
        """Create the first administrator, unless there is any; raises Unavailable if the file of one is no use."""
        if not self.files():
            self._create(self._first)
        for one in self.all():
            if isinstance(one, Unavailable):
                raise one

    def add(self, name: str) -> Administrator:
        """Add an administrator; raises ValueError for a name that is taken or is none."""
        if not _NAME.fullmatch(name):
            raise ValueError(
                "a name has lower-case letters, digits and . _ -, begins with a letter, and is 64 long at most"
            )
        if self._path(name) == self._first and name != self._first_name():
            raise ValueError(f"{name} is the name of the first administrator")
        self._others.mkdir(mode=0o700, exist_ok=True)
        if not self._create(self._path(name)):
            raise ValueError(f"there is an administrator {name} already")
        return self._read(name, self._path(name))

    def remove(self, name: str) -> None:
        """Remove an administrator, who is refused from the next request on; raises ValueError for one who is not there."""
        path = self._path(name if _NAME.fullmatch(name) else "-")
        try:
            path.unlink()
            secret_file.sync(path.parent)
        except FileNotFoundError:
            raise ValueError(
                f"there is no administrator {name!r}; there are: {', '.join(self.files()) or 'none'}"
            ) from None

    def files(self) -> dict[str, Path]:
        """Return the files by administrator, the first administrator's first."""
        others = {path.stem: path for path in sorted(self._others.glob("*.json")) if _NAME.fullmatch(path.stem)}
        return {**({self._first_name(): self._first} if self._first.exists() else {}), **others}

    def all(self) -> Iterator[Administrator | Unavailable]:
        """Yield each administrator, or what is wrong with the file: nobody is kept out by a fault in another's."""
        for name, path in self.files().items():
            try:
                yield self._read(name, path)
            except Unavailable as fault:
                if path.exists():  # otherwise it was removed just now
                    yield fault

    def _create(self, path: Path) -> bool:
        """Write new credentials; False if the file is there already."""
        key = (
            f"AKIAPRACTICE{secrets.token_hex(4).upper()}" if self._practising else f"AKIA{secrets.token_hex(8).upper()}"
        )
        made = {"access_key_id": key, "secret_access_key": secrets.token_urlsafe(30), "created": int(time.time())}
        text = json.dumps(made)
        return secret_file.write_once(path, text) == text

    def _read(self, name: str, path: Path) -> Administrator:
        try:
            text = secret_file.read(path)
        except SecretFileOpenToOthers:
            raise SecretFileOpenToOthers(hint=f"{path}: chmod 600 it, or remove the administrator") from None
        try:
            stored = json.loads(text)
            key, secret = stored["access_key_id"], stored["secret_access_key"]
            if not (isinstance(key, str) and isinstance(secret, str) and len(key) >= 16 and secret):
                raise TypeError
            return Administrator(name, key, secret, int(stored.get("created", 0)), path)
        except (ValueError, KeyError, TypeError, AttributeError):
            # SECURITY: no cause, since a JSON error holds the whole text (test_a_faulty_file_is_not_quoted).
            raise AdministratorMalformed(hint=str(path)) from None

    def _path(self, name: str) -> Path:
        return self._first if name in (FIRST, PRACTICE) else self._others / f"{name}.json"

    def _first_name(self) -> str:
        return PRACTICE if self._practising else FIRST
