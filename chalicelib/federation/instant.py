"""Times as providers write them (RFC 3339), as epoch seconds."""

from __future__ import annotations

import calendar
import re
from typing import Final

from chalicelib.federation.exchange import MintError

_FORM: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def epoch(text: object) -> int:
    """Return a time as epoch seconds; raises MintError for what is none."""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise MintError("malformed")
    *parts, sign, hours, minutes = found.groups()
    month, day, hour, minute, second = map(int, parts[1:])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        raise MintError("malformed")
    away = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    return calendar.timegm((int(parts[0]), month, day, hour, minute, second)) - away
