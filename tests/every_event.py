"""All that an audit holds, however many pages it is read in: a page may end early where reading is slow."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.audit import Audit, Event, Query


def every_event(audit: Audit, query: Query) -> list[Event]:
    """Return the events that a query finds, newest first, following the cursors to the end."""
    found: list[Event] = []
    while True:
        page = audit.page(query)
        assert len(page.events) <= query.limit
        found += page.events
        if not page.next:
            return found
        query = replace(query, after=page.next)
