"""The policy language's patterns: `*` stands for exactly one whole segment between `/` or `:`, or for the rest of the last.

Scopes have paths, and their patterns are those of paths: see `scope_matches`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SEPARATOR = re.compile("([/:])")
# ! $ & ' ( ) * + , : = @, which are plain characters of a segment (RFC 3986 section 3.3).
_NEEDLESS = re.compile("%(2[146789ABC]|3[AD]|40)")
SLASH = "%2F"
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
    if "**" in segments[:-1] or scope.endswith("**/"):
        return "`/**` at the end only"
    return fault(scope.removesuffix("*") if segments[-1:] == ["**"] else scope)


def matches(pattern: str, value: str) -> bool:
    """Whether `value` has the pattern's form: same separators, same literals, and text where `*` stands."""
    if "*" not in pattern:
        return pattern == value
    wanted, found = segments(pattern), segments(value)
    # SECURITY: separators are compared too, so `*` never crosses one (test_no_star_crosses_a_separator).
    return len(wanted) == len(found) and all(
        have not in ("", "/", ":") if want == "*" else want == have for want, have in zip(wanted, found, strict=True)
    )


def scope_matches(pattern: str, value: str, *, verbs: bool = True) -> bool:
    """Whether a scope's pattern opens a `METHOD:/path`, both in canonical form.

    A segment is what stands between two `/`; a last `/**` is one or more of them. `*` is a whole segment, or a whole part of
    one between `:`. verbs: whether the API has verbs behind a `:` in the last segment, which a lone `*` does not open.
    """
    if "*" not in pattern or pattern == value:
        return pattern == value
    wanted, found = pattern.split("/"), value.split("/")
    if wanted[-1] == "**":
        below = found[len(wanted) - 1 :]
        if "" in below[:-1] or below in ([], [""]):
            return False
        return all(_segment_matches(*pair, whole=True) for pair in zip(wanted[:-1], found, strict=False))
    last = len(wanted) - (2 if wanted[-1] == "" else 1)
    # SECURITY: a `:` before the last segment is nobody's verb; in the last one `*` would open `projects/x:setIamPolicy`
    # (test_a_star_opens_no_verb).
    return len(wanted) == len(found) and all(
        _segment_matches(want, have, whole=place < last or not verbs)
        for place, (want, have) in enumerate(zip(wanted, found, strict=True))
    )


def _segment_matches(want: str, have: str, *, whole: bool) -> bool:
    """Whether a segment matches. whole: whether a lone `*` stands for a segment with `:` in it as well."""
    if want == "*":
        return have != "" and (whole or ":" not in have)
    return want == have or (":" in want and matches(want, have))


def scope_covered(wanted: Iterable[str], scopes: Iterable[str], *, verbs: bool = True) -> bool:
    """Whether each of `wanted` (scopes) opens nothing but what at least one of `scopes` opens; verbs: as `scope_matches`."""
    known = tuple(map(canonical, scopes))
    return all(any(_covers(wide, narrow, verbs=verbs) for wide in known) for narrow in map(canonical, wanted))


def _covers(wide: str, narrow: str, *, verbs: bool) -> bool:
    if SLASH in narrow and wide != narrow and not _covers_sent_and_decoded(wide, narrow, verbs=verbs):
        return False
    # SECURITY: `/**` is never covered by `/*`, of which it would be a value (test_covered_scopes_match_no_more).
    if narrow.endswith("/**") and wide != narrow:
        return wide.endswith("/**") and scope_matches(wide, narrow[:-1], verbs=verbs)
    return scope_matches(wide, narrow, verbs=verbs)


def _covers_sent_and_decoded(wide: str, narrow: str, *, verbs: bool) -> bool:
    # SECURITY: an encoded slash opens both readings of it, and so has to be opened in both
    # (test_a_narrowed_scope_opens_no_more).
    forms = {wide, decoded(wide)}
    return any(_covers(one, decoded(narrow), verbs=verbs) for one in forms)


def decoded(text: str) -> str:
    """Return the reading in which encoded slashes are separators."""
    return text.replace(SLASH, "/")


def canonical(text: str) -> str:
    """Return a path or scope with what needs no percent-encoding as itself: `kind%3Abug` is `kind:bug`. `%2F` stays."""
    return _NEEDLESS.sub(lambda found: chr(int(found[1], 16)), text) if "%" in text else text


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
