"""The policy language's patterns: `*` stands for exactly one whole segment between `/` or `:`."""

from __future__ import annotations

import re
from collections.abc import Iterable


def fault(pattern: str) -> str | None:
    """Return what is wrong with a pattern: empty, a `*` inside a segment, or no literal segment first; else None."""
    parts = segments(pattern)
    if not pattern:
        return "empty"
    if any("*" in segment and segment != "*" for segment in parts):
        return "`*` must be a whole segment between `/` or `:`"
    if "*" in parts and parts[0] in ("*", ""):
        return "a pattern must start with a literal segment"
    return None


def scope_fault(scope: str) -> str | None:
    """Return what is wrong with a scope's `METHOD:/path`: as `fault`, or a path that no call can have; else None."""
    segments = scope.removesuffix("/").split("/")[1:]
    if any(segment in ("", ".", "..") for segment in segments):
        return "a path without `//`, `/./` and `/../`: no call has one"
    return fault(scope)


def matches(pattern: str, value: str) -> bool:
    """Whether `value` has the pattern's form: same separators, same literals, and text where `*` stands."""
    if "*" not in pattern:
        return pattern == value
    wanted, found = segments(pattern), segments(value)
    # SECURITY: separators are compared too, so `*` never crosses one (test_no_star_crosses_a_separator).
    return len(wanted) == len(found) and all(
        have not in ("", "/", ":") if want == "*" else want == have for want, have in zip(wanted, found, strict=True)
    )


def covered(wanted: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether each of `wanted` (values, or patterns read as values) is matched by at least one of `patterns`."""
    known = tuple(patterns)
    # A pattern matches itself.
    return all(one in known or any(matches(pattern, one) for pattern in known) for one in wanted)


_SEPARATOR = re.compile("([/:])")


def segments(text: str) -> list[str]:
    """Return the segments and separators, alternating: `GET:/v1/*` is `GET`, `:`, ``, `/`, `v1`, `/`, `*`."""
    return _SEPARATOR.split(text)


def model_fault(pattern: str) -> str | None:
    """Return what is wrong with a model's name or pattern, which may also end in `-*`; else None."""
    return fault(pattern.removesuffix("-*") + "-") if pattern.endswith("-*") and pattern != "-*" else fault(pattern)


def model_matches(pattern: str, model: str) -> bool:
    """Whether a model matches: as `matches`, and a last `-*` stands for any ending within the last segment."""
    if not pattern.endswith("-*"):
        return matches(pattern, model)
    wanted, found = segments(pattern), segments(model)
    head, start = wanted[:-1], wanted[-1][:-1]
    last = found[-1]
    return matches("".join(head) + "x", "".join(found[:-1]) + "x") and last.startswith(start) and len(last) > len(start)
