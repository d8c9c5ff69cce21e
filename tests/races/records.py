"""Everything that the audit holds of what the tests' clock saw."""

from __future__ import annotations

from chalicelib.audit import PAGE_LIMIT, Audit, Event, Query
from tests.contracts.samples import NOW
from tests.every_event import every_event


def events(audit: Audit, **equals: str) -> list[Event]:
    """Return every event of NOW with these values, newest first, however many pages they fill."""
    return every_event(audit, Query(equals, since=NOW, until=NOW + 1, limit=PAGE_LIMIT))
