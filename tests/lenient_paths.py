"""A path as lenient servers read it, and a second formulation of what is closed and open: regular expressions, no sharing."""

from __future__ import annotations

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
    have = [_folded(segment.partition(":")[0]) for segment in meaning.split("/")]
    for entry in closed:
        want = [_folded(segment) for segment in entry.split("/")]
        if len(have) >= len(want) and all(a in ("*", b) for a, b in zip(want, have, strict=False)):
            return True
    return False


def _folded(segment: str) -> str:
    return re.sub("[-_]", "", segment).lower()


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
