"""Checks of single values of a policy file: each returns the value, or notes a fault and returns FAULTY."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Sequence

from chalicelib.policy.faults import FAULTY, Faulty, Path
from chalicelib.policy.reader import Faults
from chalicelib.policy.schema import seconds, spelled


def check_one_of(name: str | Faulty, names: Collection[str], path: Path, faults: Faults) -> str | Faulty:
    """Return a name if it is one of these."""
    if name is FAULTY or name in names:
        return name
    known = ", ".join(itertools.islice(names, 20))
    faults.note(path, f"one of {known}" if known else "a name that this file defines; it defines none", name)
    return FAULTY


def check_each(
    texts: Sequence[str | Faulty] | Faulty, fault_of: Callable[[str], str | None], path: Path, faults: Faults
) -> tuple[str, ...] | Faulty:
    """Return a list if `fault_of` has nothing to say about any of its texts."""
    good: list[str] = []
    for index, text in enumerate(texts or ()):
        if text is FAULTY:
            continue
        if fault := fault_of(text):
            faults.note((*path, str(index)), fault, text)
        else:
            good.append(text)
    return tuple(good) if texts is not FAULTY and len(good) == len(texts) else FAULTY


def check_duration(text: str | Faulty, within: tuple[int, int], path: Path, faults: Faults) -> int | Faulty:
    """Return a duration in seconds. within: the shortest and the longest allowed."""
    if text is FAULTY:
        return FAULTY
    found, (least, most) = seconds(text), within
    if least <= found <= most:
        return found
    faults.note(path, f"{spelled(least)} to {spelled(most)}", text)
    return FAULTY


def claim_path(claim: str) -> Path | None:
    """Return the path that a key of `claims` stands for: one name, or the names of a JSON list; None for neither."""
    if not claim.startswith("["):
        return (claim,)
    try:
        names = json.loads(claim)
        json.dumps(names, ensure_ascii=False).encode()  # JSON can spell half of a surrogate pair, which is not text
    except (ValueError, RecursionError):
        return None
    return tuple(names) if names and all(isinstance(name, str) and name for name in names) else None
