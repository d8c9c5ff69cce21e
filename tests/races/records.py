"""Everything that the audit holds of what the tests' clock saw."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.audit import PAGE_LIMIT, Audit, Event, Query
from tests.contracts.samples import NOW


def events(audit: Audit, **equals: str) -> list[Event]:
    """Return every event of NOW with these values, newest first, however many pages they fill."""
    return list(_events(audit, equals))


def _events(audit: Audit, equals: dict[str, str]) -> Iterator[Event]:
    after = ""
    while True:
        page = audit.page(Query(equals, since=NOW, until=NOW + 1, after=after, limit=PAGE_LIMIT))
        yield from page.events
        after = page.next
        if not after:
            return
