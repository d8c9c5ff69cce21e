"""The policy language's patterns: `*` stands for exactly one whole segment between `/` or `:`, or for the rest of the last."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SEPARATOR = re.compile("([/:])")
_WHOLE = "`*` must be a whole segment between `/` or `:`"


def fault(pattern: str) -> str | None:
    """Return what is wrong with a pattern: empty, a `*` inside a segment, or no literal segment first; else None."""
    parts = segments(pattern)
    if not pattern:
        return "empty"
    if any("*" in segment and segment != "*" for segment in parts):
        return _WHOLE
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


def segments(text: str) -> list[str]:
    """Return the segments and separators, alternating: `GET:/v1/*` is `GET`, `:`, ``, `/`, `v1`, `/`, `*`."""
    return _SEPARATOR.split(text)


def claim_fault(pattern: str) -> str | None:
    """Return what is wrong with a claim's value or pattern, whose last segment may also end in `*`; else None."""
    *head, last = segments(pattern)
    # SECURITY: judged as if all of the last segment were `*`, so that a text without separators, such as a numeric id,
    # has no pattern (test_ids_have_no_pattern).
    found = fault("".join((*head, "*")) if _start(last) else pattern)
    return f"{found}, or end the last one" if found == _WHOLE else found


def claim_matches(pattern: str, value: str) -> bool:
    """Whether a claim's value matches: as `matches`, and a last segment `v*` is one that begins with `v` and goes on."""
    *head, last = segments(pattern)
    start = _start(last)
    if not start:
        return matches(pattern, value)
    found = segments(value)[-1]
    # SECURITY: the rest is of the last segment alone, and never empty (test_a_beginning_never_crosses_a_separator).
    return found.startswith(start) and len(found) > len(start) and matches("".join((*head, "*")), value)


def _start(last: str) -> str:
    """What a last segment `v*` begins with; "" if it is no such segment."""
    return last[:-1] if last.endswith("*") and "*" not in last[:-1] else ""


def model_fault(pattern: str) -> str | None:
    """Return what is wrong with a model's name or pattern, which may also end in `-*`; else None."""
    return fault(pattern.removesuffix("-*") + "-") if pattern.endswith("-*") and pattern != "-*" else fault(pattern)


def model_matches(pattern: str, model: str) -> bool:
    """Whether a model matches: as `claim_matches`; of its patterns, only `-*` may end a segment that is not all `*`."""
    return claim_matches(pattern, model)
