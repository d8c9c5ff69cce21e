"""Where an export ended, in a file: the next one goes on from there, whatever became of this one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from keybroker.cli.command_error import LOCAL, CommandError

OVERLAP = 300
"""Seconds that an export reads again before its cursor: an event that was written late has an earlier time."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where an export ended. until: epoch seconds, exclusive."""

    until: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)
    """The events of the last OVERLAP seconds, ids and times: they are read again, and not written again."""
    size: int = 0
    """Bytes of the output that were complete then."""
    file: tuple[int, int] = (0, 0)
    """Device and inode of the output. Another file is written from its end."""

    def after(self, until: int, events: Mapping[str, int]) -> Cursor:
        """Return the cursor after these events, ids and times, up to `until` or where it was."""
        end = max(until, self.until)
        seen = {one: at for one, at in {**self.seen, **events}.items() if at >= end - OVERLAP}
        return replace(self, until=end, seen=seen)


def read(path: Path) -> Cursor | None:
    """Return the cursor in a file, None if there is no such file; raises CommandError for any other content."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        device, inode = found["file"]
        seen = {str(one): int(at) for one, at in found["seen"].items()}
        return Cursor(int(found["until"]), seen, int(found["size"]), (int(device), int(inode)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(LOCAL, f"cannot read the cursor {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CommandError(LOCAL, f"{path} is not a cursor of an export: give another file") from None


def write(path: Path, cursor: Cursor) -> None:
    """Put a cursor in a file, in one step; raises OSError."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(asdict(cursor), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def cut_off(output: BinaryIO, cursor: Cursor) -> tuple[int, int]:
    """Remove from the output what an export wrote that was ended before its cursor; return which file it is."""
    status = os.fstat(output.fileno())
    found = (status.st_dev, status.st_ino)
    if found == cursor.file and status.st_size > cursor.size:
        output.truncate(cursor.size)
    output.seek(0, os.SEEK_END)
    return found
