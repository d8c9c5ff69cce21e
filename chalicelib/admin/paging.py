"""Reads page after page of the audit and of usage, up to a number of pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chalicelib.audit import PAGE_LIMIT, Audit, Page, Query
from chalicelib.usage import Usage, UsagePage, UsageQuery


def events(audit: Audit, query: Query, at_most: int) -> Iterator[Page]:
    """Yield up to `at_most` pages of events, newest first; a last page with a `next` means that there is more.

    Each page is as large as can be, whatever the query's limit. Raises as `Audit.page`.
    """
    wanted = replace(query, limit=PAGE_LIMIT)
    for _ in range(at_most):
        page = audit.page(wanted)
        yield page
        if not page.next:
            return
        wanted = replace(wanted, after=page.next)


def uses(usage: Usage, query: UsageQuery, at_most: int) -> Iterator[UsagePage]:
    """Yield up to `at_most` pages of uses, as large as the query says; otherwise as `events`. Raises as `Usage.uses`."""
    wanted = query
    for _ in range(at_most):
        page = usage.uses(wanted)
        yield page
        if not page.next:
            return
        wanted = replace(wanted, after=page.next)
