"""The tables of the state file, and how a file that an older Keybroker made is brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from local.errors import StateFileNewer, StateFileOlder

_TABLES = """
CREATE TABLE IF NOT EXISTS things (           -- revocation targets; config, blocks and epoch are set separately
    scope TEXT NOT NULL, id TEXT NOT NULL,
    config TEXT,                              -- JSON; NULL: nothing of this name
    key_version TEXT,                         -- of keys: JSON of the version in force, NULL: its value was never set
    epoch INTEGER NOT NULL DEFAULT 0,
    blocks TEXT NOT NULL DEFAULT '{}',        -- JSON: revocation id -> end or null
    issuer TEXT, key TEXT,                    -- of grants, to find the candidates
    PRIMARY KEY (scope, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS grants_by_issuer_and_key ON things (issuer, key) WHERE issuer IS NOT NULL;
CREATE TABLE IF NOT EXISTS counters (
    what TEXT NOT NULL, grant_name TEXT NOT NULL, principal TEXT NOT NULL,
    window TEXT NOT NULL, start INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    key TEXT NOT NULL DEFAULT '', name TEXT NOT NULL DEFAULT '',   -- of tokens: labels for the usage report
    seen INTEGER NOT NULL DEFAULT 0,          -- when it was last added to, to the minute
    PRIMARY KEY (principal, grant_name, what, window, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refusals (         -- refusals by reason; each has a row of counters, too
    what TEXT NOT NULL, grant_name TEXT NOT NULL, principal TEXT NOT NULL,
    window TEXT NOT NULL, start INTEGER NOT NULL,
    reason TEXT NOT NULL, refused INTEGER NOT NULL,
    PRIMARY KEY (principal, grant_name, what, window, start, reason)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS locks (
    id TEXT PRIMARY KEY, expires INTEGER NOT NULL,
    idempotency TEXT NOT NULL, request TEXT NOT NULL, claims TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (principal TEXT PRIMARY KEY, unique_id TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS policies (         -- the newest is in force
    version INTEGER PRIMARY KEY, text TEXT NOT NULL, author TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS revocations (
    id TEXT PRIMARY KEY, scope TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL, author TEXT NOT NULL,
    at INTEGER NOT NULL, until INTEGER, lifted_at INTEGER, lifted_by TEXT);
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL, kind TEXT NOT NULL, request_id TEXT NOT NULL, principal TEXT NOT NULL,
    grant_name TEXT NOT NULL, key TEXT NOT NULL,
    event TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_by_request ON audit (request_id);
CREATE INDEX IF NOT EXISTS audit_by_principal ON audit (principal, seq)
"""
"""What files had before they had a version; each statement ends with a `;` at the end of a line."""

_FOR_THE_SWEEP = """
CREATE TABLE clock (                          -- one row: the clock that local/sqlite/steady_clock.py removes rows by
    id INTEGER PRIMARY KEY CHECK (id = 1),
    time INTEGER NOT NULL, boot TEXT NOT NULL, ticks REAL NOT NULL);
ALTER TABLE revocations ADD COLUMN kept_from  -- at, or the clock's time if that is later
    INTEGER NOT NULL DEFAULT 0;
UPDATE revocations SET kept_from = at;
CREATE INDEX counters_by_start ON counters (window, start);
CREATE INDEX refusals_by_start ON refusals (window, start);
CREATE INDEX locks_by_end ON locks (expires);
CREATE INDEX revocations_by_age ON revocations (scope, kept_from)
"""

_FOR_RETENTION = "CREATE INDEX audit_by_time ON audit (at)"

_FOR_REPEATS = """
ALTER TABLE audit ADD COLUMN subject          -- of refusals: a hash by which the same one is known again
    TEXT;
CREATE INDEX audit_by_subject ON audit (subject) WHERE subject IS NOT NULL
"""

_FOR_ANSWERS = """
CREATE TABLE answers (                        -- what the answers of models say that they took
    principal TEXT NOT NULL, grant_name TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    window TEXT NOT NULL, start INTEGER NOT NULL,
    answers INTEGER NOT NULL, unknown INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    PRIMARY KEY (principal, grant_name, window, start, model, key)) WITHOUT ROWID;
CREATE INDEX answers_by_start ON answers (window, start)
"""

_FOR_BUDGETS = """
CREATE TABLE reservations (                   -- what calls under way may take; counters hold it, too
    id TEXT PRIMARY KEY, grant_name TEXT NOT NULL, principal TEXT NOT NULL,
    at INTEGER NOT NULL, until INTEGER NOT NULL,
    shared INTEGER NOT NULL,                  -- whether it is in the counters of all callers, too
    usage INTEGER NOT NULL, spend INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX reservations_by_grant ON reservations (grant_name, at);
CREATE INDEX reservations_by_time ON reservations (at)
"""

_FOR_THE_CHAIN = """
ALTER TABLE audit ADD COLUMN before           -- hash of the row before it; NULL: from before the chain
    BLOB;
ALTER TABLE audit ADD COLUMN hash             -- its own, see chalicelib/admin/audit_chain.py
    BLOB;
CREATE TABLE audit_chain (                    -- one row: what the oldest row that is chained follows
    id INTEGER PRIMARY KEY CHECK (id = 1),
    start INTEGER NOT NULL,                   -- rows up to this number are in no chain
    seq INTEGER NOT NULL, hash BLOB NOT NULL);
INSERT INTO audit_chain SELECT 1, coalesce(max(seq), 0), coalesce(max(seq), 0), zeroblob(32)
    FROM (SELECT seq FROM audit UNION ALL SELECT seq FROM sqlite_sequence WHERE name = 'audit')
"""

_FOR_ROTATIONS = """
ALTER TABLE things ADD COLUMN rotation        -- of keys: JSON of the replacement under way
    TEXT;
ALTER TABLE things ADD COLUMN management      -- of keys: JSON of the account at the provider that replaces them
    TEXT
"""

_FOR_REFUSED_CALLS = """
CREATE TABLE refused_calls (                  -- at the edge, of late; see chalicelib/edge/refused_calls.py
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL,
    request_id TEXT NOT NULL UNIQUE,
    principal TEXT NOT NULL,                  -- '': nobody was verified
    refused TEXT NOT NULL);
CREATE INDEX refused_calls_by_principal ON refused_calls (principal, seq);
CREATE INDEX refused_calls_by_time ON refused_calls (at)
"""

_FOR_RESPONSE_TIMES = """
CREATE TABLE response_times (                 -- see chalicelib/edge/response_times.py
    window TEXT NOT NULL, start INTEGER NOT NULL,
    bucket INTEGER NOT NULL,                  -- its number, -1: failed
    answers INTEGER NOT NULL,
    PRIMARY KEY (window, start, bucket)) WITHOUT ROWID
"""

_FOR_MINTING = """
CREATE TABLE mint_notes (                     -- keys whose last attempt to mint failed; see chalicelib/federation/notes.py
    key TEXT PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID
"""

_FOR_PRICES = """
ALTER TABLE counters ADD COLUMN prices        -- of money: the date of the prices by which was charged last
    TEXT NOT NULL DEFAULT ''
"""

_ADDED = {
    "things": {"key_version": "TEXT"},
    "counters": {
        "key": "TEXT NOT NULL DEFAULT ''",
        "name": "TEXT NOT NULL DEFAULT ''",
        "seen": "INTEGER NOT NULL DEFAULT 0",
    },
}
"""Columns that tables of files without a version may lack."""


def _begin_versions(connection: sqlite3.Connection) -> None:
    for table, columns in _ADDED.items():
        there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for name, form in columns.items():
            if there and name not in there:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {form}")
    _run(connection, _TABLES)


def _add_what_the_sweep_needs(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_THE_SWEEP)


def _add_what_retention_needs(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_RETENTION)


def _add_what_repeats_need(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_REPEATS)


def _add_what_answers_took(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_ANSWERS)


def _add_what_budgets_need(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_BUDGETS)


def _add_what_the_chain_needs(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_THE_CHAIN)


def _add_what_rotations_need(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_ROTATIONS)


def _add_what_refused_calls_need(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_REFUSED_CALLS)


def _add_response_times(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_RESPONSE_TIMES)


def _add_what_minting_needs(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_MINTING)


def _add_dates_of_prices(connection: sqlite3.Connection) -> None:
    _run(connection, _FOR_PRICES)


_STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _begin_versions,
    _add_what_the_sweep_needs,
    _add_what_retention_needs,
    _add_what_repeats_need,
    _add_what_answers_took,
    _add_what_budgets_need,
    _add_what_the_chain_needs,
    _add_what_rotations_need,
    _add_what_refused_calls_need,
    _add_response_times,
    _add_what_minting_needs,
    _add_dates_of_prices,
)
"""Each brings a file from the version before to the next; a step that was released is never changed."""
VERSION = len(_STEPS)
"""What `PRAGMA user_version` says of an up-to-date file; 0 of one that is new, or from before versions."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to date in one transaction; raises StateFileNewer, or sqlite3.Error and changes nothing."""
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in _STEPS[_known_version(connection) :]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def check(connection: sqlite3.Connection) -> None:
    """Raise StateFileNewer or StateFileOlder unless the file is of this version."""
    found = _known_version(connection)
    if found < VERSION:
        raise StateFileOlder(hint=f"it has version {found}, and this Keybroker uses version {VERSION}")


def _known_version(connection: sqlite3.Connection) -> int:
    # SECURITY: what a newer version keeps in its tables may stop a caller, and this one would not look at it
    # (test_a_newer_file_is_refused).
    found = _version(connection)
    if found > VERSION:
        raise StateFileNewer(
            hint=f"it has version {found}, and this Keybroker knows versions up to {VERSION}: run the newer one"
        )
    return found


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run each statement; `executescript` would commit what came before."""
    for statement in script.split(";\n"):
        connection.execute(statement)
