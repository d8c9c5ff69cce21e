"""A path as lenient servers read it, and a second formulation of what is closed and open: regular expressions, no sharing."""

from __future__ import annotations

import functools
import itertools
import posixpath
import re
import unicodedata
from collections.abc import Callable, Sequence
from urllib.parse import unquote

_LENIENCES: Sequence[Callable[[str], str]] = (
    unquote,
    lambda path: path.replace("\\", "/"),
    lambda path: re.sub(r";[^/]*", "", path),
    lambda path: re.sub(r"[?#\x00].*", "", path, flags=re.DOTALL),
    lambda path: unicodedata.normalize("NFKC", path),
    lambda path: "/".join(segment.strip().rstrip(". ") or segment for segment in path.split("/")),
    lambda path: posixpath.normpath(re.sub("/+", "/", path)) + ("/" if path.endswith("/") else ""),
)


def meanings(path: str) -> set[str]:
    """Return what servers may make of a path that decode it, more than once, drop parameters, trim, normalise, or do not."""
    found, new = {path}, {path}
    while new:
        new = {change(one) for one in new for change in _LENIENCES} - found
        found |= new
    return found


def is_closed(closed: Sequence[str], meaning: str) -> bool:
    """Whether a reading is at a closed path or below it, for a server that ignores case, `-` and `_`, and verbs."""
    have = [segment.partition(":")[0].lower() for segment in meaning.split("/")]
    for entry in closed:
        want = entry.lower().split("/")
        if len(have) >= len(want) and all(
            one == "*" or b in _spellings(one) for one, b in zip(want, have, strict=False)
        ):
            return True
    return False


@functools.cache
def _spellings(segment: str) -> frozenset[str]:
    """Return a name with `-`, `_` or nothing between its words."""
    words = re.split("[-_]", segment)
    joints = itertools.product(("-", "_", ""), repeat=len(words) - 1)
    return frozenset("".join(map("".join, itertools.zip_longest(words, one, fillvalue=""))) for one in joints)


def opens(scope: Sequence[str], method: str, meaning: str, *, verbs: bool) -> bool:
    """Whether a scope opens a reading."""
    return any(re.fullmatch(_expression(one, verbs=verbs), f"{method}:{meaning}", re.DOTALL) for one in scope)


def _expression(scope: str, *, verbs: bool) -> str:
    head, is_deep = scope.removesuffix("/**"), scope.endswith("/**")
    pieces = re.split("(/)", head)
    names = [at for at, piece in enumerate(pieces) if piece not in ("", "/")]
    for at in names:
        star = "[^/:]+" if verbs and at == names[-1] and not is_deep else "[^/]+"
        parts = ["[^/:]+" if one == "*" else re.escape(one) for one in pieces[at].split(":")]
        pieces[at] = star if pieces[at] == "*" else ":".join(parts)
    return "".join(pieces) + ("(?:/[^/]+)+/?" if is_deep else "")
