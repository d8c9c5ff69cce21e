"""Who was seen: the principals that did anything today or yesterday (UTC), each with all that it did."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from chalicelib.principal import AWS
from chalicelib.quota import WINDOWS, cursor_key, read_cursor_key
from chalicelib.usage import PAGE_LIMIT, Usage, UsageQuery, Use, window_start

PAGES = 10
"""Pages of uses of each day that are looked through for one page of principals, and for one principal."""

_DAY = WINDOWS["day"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a principal did today and yesterday. refused: tokens and calls. last_seen: epoch seconds, to the minute."""

    principal: str
    name: str
    issuer: str
    grants: tuple[str, ...]
    last_seen: int
    tokens: int
    calls: int
    refused: int

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SeenPage:
    """Principals, those of yesterday first, and the cursor of the next page ("" at the end).

    A page may hold fewer than were asked for, or none, and have a next one: what it looked through was bounded.
    """

    principals: tuple[Seen, ...]
    next: str


def page(usage: Usage, now: int, after: str, limit: int) -> SeenPage:
    """Return who was seen; raises Unavailable, or ValueError for a cursor that is not one of ours.

    Yesterday's come first, for no more of them join while somebody turns pages; then those of today alone.
    """
    last, start, position, shown = _read_cursor(after, now)
    found: list[Seen] = []
    while start <= last:
        yesterday, today = (_Day(usage, one, position) for one in (last - _DAY, last))
        walk = today if start == last else yesterday
        met = {shown}
        for principal in walk.principals():
            if len(found) == limit:
                # The next page begins at its first use, so nobody who stands behind is passed over.
                return SeenPage(tuple(found), _cursor(last, start, walk.before[principal], met))
            met.add(principal)
            if principal == shown or walk.began_within(principal):
                continue
            before = yesterday.of(principal)
            if walk is yesterday or not before:
                found.append(_seen(principal, (*before, *today.of(principal))))
        if not walk.ended:
            return SeenPage(tuple(found), _cursor(last, start, walk.position, met))
        start, position, shown = start + _DAY, "", ""
    return SeenPage(tuple(found), "")


def uses_of(usage: Usage, principal: str, window: str, start: int) -> tuple[Use, ...]:
    """Return what one principal did in a window, under each grant; raises Unavailable."""
    found: list[Use] = []
    after = ""
    for _ in range(PAGES):
        some = usage.uses(UsageQuery(window, start, principal=principal, after=after, limit=PAGE_LIMIT))
        found += some.uses
        after = some.next
        if not after:
            break
    return tuple(found)


def issuer_of(principal: str) -> str:
    """Return the issuer in a principal's `sub`: a URL, or `aws` of an ARN."""
    issuer, mark, _ = principal.partition("|")
    return issuer if mark else AWS


def name_of(uses: tuple[Use, ...]) -> str:
    """Return what a principal is called, by the use that is the newest to say so."""
    named = [use for use in uses if use.name]
    return max(named, key=lambda use: use.last_seen).name if named else ""


class _Day:
    """The uses of one day from a place on, read page after page, as far as they are asked for.

    before: for each principal, the place behind which its first use stands. place: behind which nothing was read yet.
    """

    def __init__(self, usage: Usage, start: int, position: str) -> None:
        self.position = position
        self.ended = False
        self.before: dict[str, str] = {}
        self._usage, self._start, self._from = usage, start, position
        self._pages = PAGES
        self._uses: dict[str, list[Use]] = {}
        self._last = ""

    def principals(self) -> Iterator[str]:
        """Yield each principal once, as their uses come; stops where the day ends, or after PAGES pages."""
        seen = 0
        while seen < len(self._uses) or self._read():
            for principal in list(self._uses)[seen:]:
                seen += 1
                yield principal

    def of(self, principal: str) -> tuple[Use, ...]:
        """Return all uses of a principal that has none before the place."""
        while not (self.ended or self._is_past(principal)):
            if not self._read():
                return uses_of(self._usage, principal, "day", self._start)
        return tuple(self._uses.get(principal, ()))

    def began_within(self, principal: str) -> bool:
        """Whether the place is among the uses of a principal, though it is another's: of `a#b` among those of `a`.

        By place they can stand so; then this principal was met before the place, too.
        """
        if not self._from.startswith(cursor_key(principal, "")) or read_cursor_key(self._from)[0] == principal:
            return False
        first = uses_of(self._usage, principal, "day", self._start)[:1]
        return any(use.cursor_key() <= self._from for use in first)

    def _read(self) -> bool:
        if self.ended or not self._pages:
            return False
        some = self._usage.uses(UsageQuery("day", self._start, after=self.position, limit=PAGE_LIMIT))
        behind = self.position
        for use in some.uses:
            self.before.setdefault(use.principal, behind)
            self._uses.setdefault(use.principal, []).append(use)
            self._last, behind = use.principal, use.cursor_key()
        self.position, self.ended, self._pages = some.next, not some.next, self._pages - 1
        return True

    def _is_past(self, principal: str) -> bool:
        """Whether no more uses of a principal can come, be they in order by principal and grant or by place."""
        return principal < self._last and cursor_key(principal, "~") < cursor_key(self._last, "")


def _seen(principal: str, uses: tuple[Use, ...]) -> Seen:
    return Seen(
        principal=principal,
        name=name_of(uses),
        issuer=issuer_of(principal),
        grants=tuple(sorted({one.grant for one in uses if one.grant})),
        last_seen=max(one.last_seen for one in uses),
        tokens=sum(one.tokens for one in uses),
        calls=sum(one.calls for one in uses),
        refused=sum(sum(one.refused_tokens.values()) + sum(one.refused_calls.values()) for one in uses),
    )


def _cursor(last: int, start: int, position: str, met: Container[str]) -> str:
    """Say how far somebody has come: on which day it began, in which day it is, where, and whether whom that names was met."""
    return f"{last}:{start}:{'=' if position and read_cursor_key(position)[0] in met else '-'}{position}"


def _read_cursor(cursor: str, now: int) -> tuple[int, int, str, str]:
    """Return the day on which it began, the day it is in, the place, and who was shown last ("" for nobody)."""
    today = window_start("day", now)
    if not cursor:
        return today, today - _DAY, "", ""
    # Whoever began yesterday goes on with yesterday's days.
    began, _, rest = cursor.partition(":")
    start, _, rest = rest.partition(":")
    mark, position = rest[:1], rest[1:]
    days = {str(one): one for one in (today, today - _DAY, today - 2 * _DAY)}
    if began not in days or start not in days or days[began] - days[start] not in (0, _DAY) or mark not in ("-", "="):
        raise ValueError("not a cursor of the principals")
    return days[began], days[start], position, read_cursor_key(position)[0] if mark == "=" else ""
