"""Which providers have an API here with which keys are made."""

from __future__ import annotations

from typing import Any

MANAGEMENTS: dict[str, Any] = {}
