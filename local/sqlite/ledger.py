"""The exchange's state in SQLite: `chalicelib.exchange.ledger.Ledger`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

from chalicelib import quota
from chalicelib.admin.audit_chain import ChainPage, Head
from chalicelib.audit import FILTERS, REPEAT_SECONDS, Event, IssuedCount, Page, Query
from chalicelib.exchange.errors import IdentityChanged
from chalicelib.exchange.ledger import (
    Candidates,
    ExchangeState,
    Issuance,
    Lock,
    Pin,
    StateQuery,
    over_quota,
    refused_counters,
    retry,
)
from chalicelib.policy import grants
from chalicelib.principal import AWS
from chalicelib.quota import Counter
from chalicelib.revocation import EVERYTHING, RevocationTarget
from local.sqlite import audit_rows, counter_rows, target_rows
from local.sqlite.state_file import StateFile
from local.sqlite.target_rows import ABSENT, Row

_NO_CURSOR = 2**62
_COLUMNS = {name: name for name in FILTERS} | {"grant": "grant_name"}


class SqliteLedger:
    """Reads before an issuance, and writes it in one transaction."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def find(self, query: StateQuery) -> ExchangeState:
        """See `Ledger.find`."""
        with self._state.reading() as connection:
            named = () if query.grant is None else (RevocationTarget("grant", query.grant),)
            rows = target_rows.read(connection, (*query.targets, *named))
            candidates = [rows[named[0]]] if named else _candidates(connection, query)
            found = _grants(candidates) if len(candidates) <= grants.CANDIDATES else None
            return ExchangeState(
                states={target: row.state for target, row in rows.items()},
                issuer=rows.get(RevocationTarget("issuer", query.issuer), ABSENT).issuer()
                if query.issuer != AWS
                else None,
                key=rows.get(RevocationTarget("key", query.key), ABSENT).key_config(),
                grants=found,
                taken=_taken(connection, query, found or ()),
                signs=rows.get(EVERYTHING, ABSENT).signs(),
                signing_keys=rows.get(EVERYTHING, ABSENT).signing_keys(),
            )

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        """See `Ledger.issue`."""
        with self._state.writing() as connection:
            if issuance.pin is not None:
                _check_pin(connection, issuance.pin, now)
            if issuance.lock is not None:
                stored = _take_lock(connection, issuance.lock, now)
                if stored is not None:
                    return retry(stored, issuance.lock, now)
            if issuance.counters:
                counters = tuple(counter for counter, _ in issuance.counters)
                over_quota(issuance.counters[0][1], counter_rows.add_one(connection, counters), now)
                counter_rows.label(connection, counters, issuance.event)
            audit_rows.write(connection, issuance.event)
        return None

    def record(self, event: Event) -> None:
        """See `Ledger.record`."""
        counters = refused_counters(event)
        with self._state.writing() as connection:
            if counters:
                counter_rows.add_refused(connection, counters, event.reason)
                counter_rows.label(connection, counters, event)
            if not _count_repeat(connection, event):
                audit_rows.write(connection, event)

    def page(self, query: Query) -> Page:
        """See `Audit.page`."""
        if not set(query.equals) <= set(FILTERS):
            raise ValueError("not a filter of the audit")
        before = _read_cursor(query.after)
        where = " AND ".join(f"{_COLUMNS[name]} = ?" for name in query.equals) or "1"
        with self._state.reading() as connection:
            rows = connection.execute(
                # `+at`: a page is read in the order of `seq`, never sorted out of all that the index of times finds.
                f"SELECT seq, event FROM audit WHERE {where} AND +at >= ? AND +at < ? AND seq < ?"  # noqa: S608  known names
                " ORDER BY seq DESC LIMIT ?",
                (*query.equals.values(), query.since, query.until, before, query.limit + 1),
            ).fetchall()
        shown = rows[: query.limit]
        more = len(rows) > query.limit
        return Page(tuple(Event.from_json(json.loads(event)) for _, event in shown), str(shown[-1][0]) if more else "")

    def head(self, seq: int | None) -> Head:
        """See `AuditChain.head`."""
        with self._state.reading() as connection:
            return audit_rows.head(connection, seq)

    def check_chain(self, after: str) -> ChainPage:
        """See `AuditChain.check_chain`."""
        with self._state.reading() as connection:
            return audit_rows.check(connection, after)

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        """See `Audit.count_issued`."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT principal, grant_name, count(*) FROM (SELECT principal, grant_name FROM audit"
                " INDEXED BY audit_by_time WHERE at >= ? AND at < ? AND kind = 'token.issued' LIMIT ?) GROUP BY 1, 2",
                (since, until, at_most + 1),
            ).fetchall()
        counts = {(principal, grant): count for principal, grant, count in rows}
        return IssuedCount(counts, sum(counts.values()) <= at_most)


def _count_repeat(connection: sqlite3.Connection, event: Event) -> bool:
    """Count a refusal in the event of the same one, if there is one of the last REPEAT_SECONDS."""
    if not event.subject:
        return False
    counted = connection.execute(
        "UPDATE audit SET event = json_set(event, '$.repeated', coalesce(json_extract(event, '$.repeated'), 0) + 1)"
        " WHERE seq = (SELECT max(seq) FROM audit WHERE subject = ?) AND at > ?",
        (event.subject, event.at - REPEAT_SECONDS),
    )
    return counted.rowcount > 0


def _read_cursor(cursor: str) -> int:
    """Return the number that a page's events come before; raises ValueError for a malformed cursor."""
    if not cursor:
        return _NO_CURSOR
    # SQLite's integers have 63 bits, Python's and a caller's have any number (test_a_malformed_cursor_is_a_value_error).
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise ValueError("not a cursor of the audit")
    return int(cursor)


def _grants(rows: Iterable[Row]) -> Candidates:
    return tuple((grant, row.state) for row in rows if (grant := row.grant()) is not None)


def _candidates(connection: sqlite3.Connection, query: StateQuery) -> list[Row]:
    rows = connection.execute(
        "SELECT epoch, blocks, config FROM things WHERE issuer = ? AND key = ? AND config IS NOT NULL LIMIT ?",
        (query.issuer, query.key, grants.CANDIDATES + 1),
    )
    return [target_rows.row(*columns) for columns in rows]


def _taken(connection: sqlite3.Connection, query: StateQuery, found: Candidates) -> dict[Counter, int]:
    """Return how many tokens each `sub` was issued in the current windows, under each grant that was found."""
    every = [
        counter
        for grant, _ in found
        for sub in query.subs()
        for counter in quota.counters("tokens", grant.name, sub, query.now)
    ]
    if not every:
        return {}
    marks = ",".join(["(?,?,?,?)"] * len(every))
    rows = connection.execute(
        f"WITH wanted (p, g, w, s) AS (VALUES {marks})"  # noqa: S608  marks only
        " SELECT g, p, w, s, taken FROM wanted CROSS JOIN counters"
        " ON principal = p AND grant_name = g AND what = 'tokens' AND window = w AND start = s",
        [part for one in every for part in (one.principal, one.grant, one.window, one.start)],
    )
    return {Counter("tokens", *counter): taken for *counter, taken in rows}


def _take_lock(connection: sqlite3.Connection, lock: Lock, now: int) -> Lock | None:
    """Take the lock and return None, or return the lock that is held. An expired lock is taken over."""
    taken = connection.execute(
        "INSERT INTO locks (id, expires, idempotency, request, claims) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET expires = excluded.expires, idempotency = excluded.idempotency,"
        " request = excluded.request, claims = excluded.claims WHERE locks.expires < ?",
        (lock.id, lock.expires, lock.idempotency, lock.request, json.dumps(lock.claims), now),
    )
    if taken.rowcount:
        return None
    row = connection.execute(
        "SELECT expires, idempotency, request, claims FROM locks WHERE id = ?", (lock.id,)
    ).fetchone()
    return Lock(lock.id, row[0], row[1], row[2], json.loads(row[3]))


def _check_pin(connection: sqlite3.Connection, pin: Pin, now: int) -> None:
    """Bind the principal at its first use; raises IdentityChanged if it is bound to another id."""
    connection.execute(
        "INSERT INTO pins (principal, unique_id, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (pin.principal, pin.unique_id, now),
    )
    bound = connection.execute("SELECT unique_id FROM pins WHERE principal = ?", (pin.principal,)).fetchone()
    if bound != (pin.unique_id,):
        raise IdentityChanged
