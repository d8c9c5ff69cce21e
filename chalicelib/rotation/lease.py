"""Keeps an attempt to the time for which nobody else may be at work on the same rotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chalicelib.rotation.management import CreatedKey, KeyManagement, ListedKey, ManagementError

STEP_SECONDS: Final = 35
"""The longest that one step at a provider takes: a list of ten pages, each in three seconds."""


@dataclass(frozen=True, slots=True)
class Leased:
    """`KeyManagement` until a time (epoch seconds); afterwards every method raises ManagementError(`late`)."""

    management: KeyManagement
    until: int
    clock: Callable[[], int]

    def create(self, name: str) -> CreatedKey:
        """See `KeyManagement.create`."""
        self._check()
        return self.management.create(name)

    def named(self, prefix: str) -> tuple[ListedKey, ...]:
        """See `KeyManagement.named`."""
        self._check()
        return self.management.named(prefix)

    def delete(self, key_id: str) -> None:
        """See `KeyManagement.delete`."""
        self._check()
        self.management.delete(key_id)

    def _check(self) -> None:
        # SECURITY: an attempt that was taken over must not delete what its successor makes (test_a_late_attempt_deletes_nothing).
        if self.clock() + STEP_SECONDS > self.until:
            raise ManagementError("late")
