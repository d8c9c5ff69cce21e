"""What is wrong with a policy file, and the two stand-ins for a value: FAULTY and ABSENT."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

import msgspec

Path: TypeAlias = tuple[str, ...]
"""Where a field is in the file: `("grants", "app", "ttl")`; an element of a list by its index."""

Faulty: TypeAlias = None
FAULTY: Final = None
"""Instead of a value that breaks a rule. Its fault is noted already, and other fields are still checked."""

Absent: TypeAlias = msgspec.UnsetType
ABSENT: Final = msgspec.UNSET
"""Instead of the value of an optional field that is not in the file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a policy file."""

    file: str
    """The file's name, as it was given."""
    line: int
    """From 1."""
    field: str
    """Its path, e.g. `grants.app.ttl`; empty for the file as a whole."""
    found: str
    """What is there: a quotation, or a description."""
    allowed: str
    """What could be there instead."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field or 'file'}: found {self.found}, allowed: {self.allowed}"

    def to_json(self) -> dict[str, object]:
        """Return the form that the admin API answers."""
        return asdict(self)


class Description(str):
    """Words about what was found, as opposed to a quotation of it."""

    __slots__ = ()


class InvalidPolicyError(Exception):
    """A policy file with faults. `faults` has all of them, by line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.field)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


def fault_at(file: str, line: int, path: Path, allowed: str, found: object) -> Fault:
    """Make a fault of a field. found: quoted, unless it is a Description. Long texts are cut."""
    text = str(found) if isinstance(found, Description) else repr(found)
    field = ".".join(name[:300] for name in path)[:300]
    return Fault(file, line, field, text[:200], allowed[:500])
