"""The one pattern form of the policy language: `*` stands for exactly one whole segment between `/` or `:`."""

from __future__ import annotations

import re
from collections.abc import Iterable


def fault(pattern: str) -> str | None:
    """Say what is wrong with a pattern, or None: empty, a `*` inside a segment, or no literal segment first."""
    segments = _segments(pattern)
    if not pattern:
        return "empty"
    if any("*" in segment and segment != "*" for segment in segments):
        return "`*` must be a whole segment between `/` or `:`"
    if "*" in segments and segments[0] in ("*", ""):
        return "a pattern must start with a literal segment"
    return None


def matches(pattern: str, value: str) -> bool:
    """Whether `value` has the pattern's form: same separators, same literals, and something where `*` stands."""
    if "*" not in pattern:
        return pattern == value
    wanted, found = _segments(pattern), _segments(value)
    # SECURITY: separators are compared too, so `*` never crosses one (test_no_star_crosses_a_separator).
    return len(wanted) == len(found) and all(
        have not in ("", "/", ":") if want == "*" else want == have for want, have in zip(wanted, found, strict=True)
    )


def covered(wanted: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether each of `wanted` (values, or patterns taken as values) is matched by at least one of `patterns`."""
    known = tuple(patterns)
    return all(any(matches(pattern, one) for pattern in known) for one in wanted)


_SEPARATOR = re.compile("([/:])")


def _segments(text: str) -> list[str]:
    """Split into segments and separators, alternating: `GET:/v1/*` is `GET`, `:`, ``, `/`, `v1`, `/`, `*`."""
    return _SEPARATOR.split(text)
