"""The audit, page after page: for whoever looks at more of it than one page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chalicelib.audit import PAGE_LIMIT, Audit, Page, Query


def newest(audit: Audit, query: Query, at_most: int) -> Iterator[Page]:
    """Yield pages of events, newest first, `at_most` of them; if the last one has a `next`, there is more to see.

    Raises as `Audit.page`.
    """
    wanted = replace(query, limit=PAGE_LIMIT)
    for _ in range(at_most):
        page = audit.page(wanted)
        yield page
        if not page.next:
            return
        wanted = replace(wanted, after=page.next)
