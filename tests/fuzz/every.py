"""Everything that is fuzzed, by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from tests.fuzz import edge_targets, path_targets, result_targets, token_targets, wire_targets
from tests.fuzz.target import Target


@contextlib.contextmanager
def everything() -> Iterator[Mapping[str, Target]]:
    """Make the targets, and what they need."""
    with edge_targets.staged() as stage, wire_targets.wired() as wire:
        found = (
            *stage.targets(),
            *token_targets.targets(),
            *path_targets.targets(),
            *result_targets.targets(),
            *wire.targets(),
        )
        yield {one.name: one for one in found}
