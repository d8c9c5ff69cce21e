"""What a source of identity is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PATIENCE = 10.0
"""Seconds that a source waits for whatever answers it; several times what any of them takes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An identity token for an audience. audience: its `aud`. environ: the environment to look in."""

    audience: str
    environ: Mapping[str, str] = field(repr=False)
