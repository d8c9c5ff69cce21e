"""What the console's pages cost beside what it asks of the administration, with 10,000 principals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from keybroker.console import routes
from keybroker.console.api import Api
from keybroker.console.console import Console
from keybroker.console.server import Request
from tests.bench.interleaved import interleaved
from tests.bench.table import Table

PRINCIPALS = 10_000
PAGE = 200
ROUNDS = 9
_EMPTY: Mapping[str, Any] = {"items": [], "next": None}
_TOTAL: Mapping[str, Any] = {
    "calls": 1,
    "tokens": 1,
    "refused_calls": {},
    "refused_tokens": {},
    "principals": PRINCIPALS,
}


def tables() -> Iterator[Table]:
    """Yield the table: the time of a page, of which the administration's part is the time of answers that are there already."""
    asked = _Asked()
    console = Console(Api(asked), "token")  # type: ignore[arg-type]  # what is asked of a client
    answer = routes.answering(console)
    pages = {
        "Now": "/",
        "Principals, the first page": "/principals",
        "Principals, a search": "/principals?q=service-99",
        "Principals, by name, the last page": "/principals?sort=name&page=200",
        "one principal": "/principal?id=x",
        "Audit": "/audit",
    }
    cases: dict[str, Callable[[], object]] = {name: partial(_shown, answer, path) for name, path in pages.items()}
    for case in cases.values():
        case()
    found = interleaved(cases, ROUNDS)
    rows = [
        (name, found[name] * 1000, float(asked.calls_of(partial(_shown, answer, path)))) for name, path in pages.items()
    ]
    yield Table(
        f"The console's own time for a page, with {PRINCIPALS:,} principals",
        ("page", "ms", "requests to the administration"),
        rows,
        (
            f"Median of {ROUNDS} interleaved rounds; the administration answers at once, from memory. All principals are read",
            f"once in 15 s, in {PRINCIPALS // PAGE} requests, which are not in these rows.",
        ),
    )


def _shown(answer: Callable[[Request], Any], path: str) -> int:
    place, _, query = path.partition("?")
    pairs = dict(one.partition("=")[::2] for one in query.split("&") if one)
    page = answer(Request("GET", place, pairs, {}, {}))
    return len(page.body)


class _Asked:
    """`AdminClient` with the answers that there are when there are so many principals."""

    url = "http://127.0.0.1:9"

    def __init__(self) -> None:
        self._now = int(time.time())
        self._calls = 0
        self._lock = threading.Lock()
        items = [_principal(number, self._now) for number in range(PRINCIPALS)]
        self._pages = [items[start : start + PAGE] for start in range(0, PRINCIPALS, PAGE)]

    def calls_of(self, act: Callable[[], object]) -> int:
        """Return how many requests something makes."""
        before = self._calls
        act()
        return self._calls - before

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  JSON
        """See `AdminClient.get`."""
        with self._lock:
            self._calls += 1
        if path == "/admin/principals":
            page = int(str((query or {}).get("after") or 0))
            return {"items": self._pages[page], "next": str(page + 1) if page + 1 < len(self._pages) else None}
        if path.startswith("/admin/principals/"):
            return _one(self._now)
        if path == "/admin/now":
            return _going_on(self._now)
        if path == "/admin/usage" and "series" in (query or {}):
            return {
                "series": "minute",
                "items": [
                    {**_TOTAL, "start": self._now - 60 * n, "end": self._now, "complete": True} for n in range(60)
                ],
            }
        if path == "/admin/audit":
            return {"items": [_event(number, self._now) for number in range(50)], "next": "x"}
        return _EMPTY

    def items(self, path: str, query: Mapping[str, object], most: int | None = None) -> Iterator[Any]:
        """See `AdminClient.items`."""
        yield from self.get(path, query)["items"][:most]


def _principal(number: int, now: int) -> dict[str, Any]:
    name = f"octo-org/service-{number}"
    sub = f"https://token.actions.example.com|repository_id:{number}"
    counts = {"tokens": number % 7, "calls": number * 31 % 1009, "refused": number % 3}
    return {
        "principal": sub,
        "name": name,
        "issuer": "https://x",
        "grants": ["ci"],
        "last_seen": now - number,
        **counts,
    }


def _one(now: int) -> dict[str, Any]:
    window = {"start": now, "end": now, "grants": []}
    standing = {"blocked": False, "blocks": []}
    about = {"principal": "x", "name": "x", "issuer": "x", "standing": standing, "complete": True, "events": []}
    return {**about, "today": window, "hour": window, "live_tokens": []}


def _going_on(now: int) -> dict[str, Any]:
    window = {"start": now, "end": now, "complete": True, "total": _TOTAL, "keys": {"openai": _TOTAL}, "grants": {}}
    busiest = [
        {**_principal(n, now), "grant": "ci", "key": "openai", "refused_calls": {}, "share": 0.1} for n in range(20)
    ]
    revoked = {"in_force": {}, "frozen": [], "complete": True}
    seen = {"revocation_probes": [], "responses": {"minutes": [], "hours": []}}
    return {"at": now, "hour": window, "day": window, "busiest": busiest, "revoked": revoked, **seen}


def _event(number: int, now: int) -> dict[str, Any]:
    texts = dict.fromkeys(("issuer", "key", "grant", "jti", "reason", "actor"), "x")
    who = {"principal": f"x|{number}", "principal_name": f"service-{number}", "request_id": "0123456789abcdef"}
    return {
        **texts,
        **who,
        "id": str(number),
        "at": now,
        "kind": "token.issued",
        "claims": {},
        "detail": {},
        "repeated": 0,
    }
