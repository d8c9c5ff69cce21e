"""The tokens that a command got for another program, revoked when that program has ended."""

from __future__ import annotations

from collections.abc import Callable

from keybroker.cli import output
from keybroker.errors import KeybrokerError


class Issued:
    """What to revoke. A token that cannot be revoked is a warning: it expires by itself."""

    def __init__(self) -> None:
        self._revocations: list[tuple[str, Callable[[], None]]] = []

    def add(self, key: str, revoke: Callable[[], None]) -> None:
        """Note how to revoke the token for a key; `revoke` raises KeybrokerError if it could not."""
        self._revocations.append((key, revoke))

    def revoke(self) -> None:
        """Revoke each once, the newest first."""
        while self._revocations:
            key, revoke = self._revocations.pop()
            try:
                revoke()
            except KeybrokerError as error:
                why = str(error).partition("\n")[0]
                output.labelled("warning", f"the token for {key} was not revoked and expires by itself: {why}")
