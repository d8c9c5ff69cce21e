"""The principals that were active today or yesterday (UTC), each with everything it did on both days."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from chalicelib.admin import paging
from chalicelib.audit import PAGE_LIMIT
from chalicelib.principal import AWS
from chalicelib.quota import WINDOWS, cursor_key, read_cursor_key
from chalicelib.usage import Usage, UsageQuery, Use, window_start

PAGES = 10
"""Pages of uses that are read for one page of principals, of each day, or for one principal."""

_DAY = WINDOWS["day"]


@dataclass(frozen=True, slots=True)
class PrincipalActivity:
    """What one principal did today and yesterday."""

    principal: str
    """Its `sub`."""
    name: str
    """What people call it; "" if that is not known."""
    issuer: str
    """The URL of its issuer, or `aws`."""
    grants: tuple[str, ...]
    """The grants that it used, in alphabetical order."""
    last_seen: int
    """When it was active last: epoch seconds, to the minute."""
    tokens: int
    """Tokens issued to it."""
    calls: int
    """Calls of it that the edge admitted."""
    refused: int
    """Tokens and calls that were refused."""

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """Principals, yesterday's first, and the cursor of the next page ("" at the end).

    A page may hold fewer than were asked for, or none, and still have a next one: how much is read for it is bounded.
    """

    principals: tuple[PrincipalActivity, ...]
    next: str


def page(usage: Usage, now: int, after: str, limit: int) -> ActivityPage:
    """Return a page of active principals.

    Yesterday's come first, since their number is final while an administrator turns pages; then those of today alone.
    Raises Unavailable, or ValueError for a cursor that was not made here.
    """
    last_day, day, position, shown = _read_cursor(after, now)
    found: list[PrincipalActivity] = []
    while day <= last_day:
        yesterday, today = (_DayReader(usage, start, position) for start in (last_day - _DAY, last_day))
        reader = today if day == last_day else yesterday
        met = {shown}
        for principal in reader.principals():
            if len(found) == limit:
                # The next page starts before this principal's first use, so that nothing in between is skipped.
                return ActivityPage(tuple(found), _cursor(last_day, day, reader.before[principal], met))
            met.add(principal)
            if principal == shown or reader.began_before(principal):
                continue
            before = yesterday.uses(principal)
            if reader is yesterday or not before:
                found.append(_activity(principal, (*before, *today.uses(principal))))
        if not reader.ended:
            return ActivityPage(tuple(found), _cursor(last_day, day, reader.position, met))
        day, position, shown = day + _DAY, "", ""
    return ActivityPage(tuple(found), "")


def uses_by(usage: Usage, principal: str, window: str, start: int) -> tuple[Use, ...]:
    """Return what one principal did in a window, under each grant; raises Unavailable."""
    query = UsageQuery(window, start, principal=principal, limit=PAGE_LIMIT, models=False)
    return tuple(use for one in paging.uses(usage, query, PAGES) for use in one.uses)


def issuer(principal: str) -> str:
    """Return the issuer in a principal's `sub`: a URL, or `aws` for an ARN."""
    url, mark, _ = principal.partition("|")
    return url if mark else AWS


def display_name(uses: tuple[Use, ...]) -> str:
    """Return what people call a principal, according to the newest use that says so; "" if none does."""
    named = [use for use in uses if use.name]
    return max(named, key=lambda use: use.last_seen).name if named else ""


class _DayReader:
    """Reads the uses of one day from a position on, page by page, only as far as they are needed.

    Uses come in the order of their cursor keys. A cursor key joins principal and grant, so the uses of `a#b` can come
    among those of `a`.
    """

    def __init__(self, usage: Usage, start: int, position: str) -> None:
        self.position = position
        """Everything up to this cursor key has been read."""
        self.ended = False
        """Whether the whole day has been read."""
        self.before: dict[str, str] = {}
        """By principal: the position just before its first use."""
        self._usage, self._start, self._from = usage, start, position
        self._pages_left = PAGES
        self._uses: dict[str, list[Use]] = {}
        self._last = ""

    def principals(self) -> Iterator[str]:
        """Yield each principal once, in the order of their first uses; stops at the end of the day or after PAGES pages."""
        yielded = 0
        while yielded < len(self._uses) or self._read():
            for principal in list(self._uses)[yielded:]:
                yielded += 1
                yield principal

    def uses(self, principal: str) -> tuple[Use, ...]:
        """Return all uses of a principal that has none up to the position that the reader started from."""
        while not (self.ended or self._is_past(principal)):
            if not self._read():
                return uses_by(self._usage, principal, "day", self._start)
        return tuple(self._uses.get(principal, ()))

    def began_before(self, principal: str) -> bool:
        """Whether a principal has uses on both sides of the starting position: an earlier page has listed it then."""
        if not self._from.startswith(cursor_key(principal, "")) or read_cursor_key(self._from)[0] == principal:
            return False
        first = uses_by(self._usage, principal, "day", self._start)[:1]
        return any(use.cursor_key() <= self._from for use in first)

    def _read(self) -> bool:
        """Read one page more; return False if there is none, or if PAGES have been read."""
        if self.ended or not self._pages_left:
            return False
        some = self._usage.uses(UsageQuery("day", self._start, after=self.position, limit=PAGE_LIMIT, models=False))
        previous = self.position
        for use in some.uses:
            self.before.setdefault(use.principal, previous)
            self._uses.setdefault(use.principal, []).append(use)
            self._last, previous = use.principal, use.cursor_key()
        self.position, self.ended, self._pages_left = some.next, not some.next, self._pages_left - 1
        return True

    def _is_past(self, principal: str) -> bool:
        """Whether no more uses of a principal can come, in order of principal and grant as well as of cursor keys."""
        return principal < self._last and cursor_key(principal, "~") < cursor_key(self._last, "")


def _activity(principal: str, uses: tuple[Use, ...]) -> PrincipalActivity:
    return PrincipalActivity(
        principal=principal,
        name=display_name(uses),
        issuer=issuer(principal),
        grants=tuple(sorted({one.grant for one in uses if one.grant})),
        last_seen=max(one.last_seen for one in uses),
        tokens=sum(one.tokens for one in uses),
        calls=sum(one.calls for one in uses),
        refused=sum(sum(one.refused_tokens.values()) + sum(one.refused_calls.values()) for one in uses),
    )


class _Cursor(NamedTuple):
    """How far a list has come."""

    last_day: int
    """The start of the day on which the first page was asked for: a list that is read past midnight keeps its days."""
    day: int
    """The start of the day that is being read."""
    position: str
    """Everything up to this cursor key has been read."""
    shown: str
    """The principal of `position` if it has been listed already, else ""."""


def _cursor(last_day: int, day: int, position: str, met: Container[str]) -> str:
    """Return a cursor as text. met: the principals that have been looked at so far."""
    return f"{last_day}:{day}:{'=' if position and read_cursor_key(position)[0] in met else '-'}{position}"


def _read_cursor(cursor: str, now: int) -> _Cursor:
    """Read a cursor, "" for the first page; raises ValueError if `_cursor` did not make it within the last two days."""
    today = window_start("day", now)
    if not cursor:
        return _Cursor(today, today - _DAY, "", "")
    last_day, _, rest = cursor.partition(":")
    day, _, rest = rest.partition(":")
    mark, position = rest[:1], rest[1:]
    days = {str(one): one for one in (today, today - _DAY, today - 2 * _DAY)}
    if last_day not in days or day not in days or days[last_day] - days[day] not in (0, _DAY) or mark not in ("-", "="):
        raise ValueError("not a cursor of the principals")
    return _Cursor(days[last_day], days[day], position, read_cursor_key(position)[0] if mark == "=" else "")
