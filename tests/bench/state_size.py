"""How large a state file becomes: `python -m tests.bench.state_size [TOKENS]`.

Tokens as GitHub's are issued through a real broker's ledger: each is an event, a replay lock and three counters' steps.
Each principal calls a few times, and the numbers are the file's own pages, by table with its indexes. Then half of the events
are cut.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from chalicelib.audit import Event
from chalicelib.exchange.ledger import Lock
from chalicelib.quota import counters
from local.sqlite import audit_rows, counter_rows, shrink, sweep
from local.sqlite.ledger import _take_lock
from local.sqlite.state_file import StateFile

NOW = 1_800_000_000
_CLAIMS = {
    "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
    "repository": "octo-org/octo-repo",
    "repository_id": "123456789",
    "repository_owner_id": "9919",
    "workflow_ref": "octo-org/octo-repo/.github/workflows/test.yml@refs/heads/main",
    "event_name": "push",
    "run_id": "17000000000",
}
_ISSUED = {**_CLAIMS, "iss": "https://broker.example.com", "scope": "POST:/v1/chat/completions", "ep": [0, 0, 0, 0, 0]}


def main(count: int) -> None:
    """Fill a state file and print bytes a row, and MB a million, by table."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.db"
        StateFile.create(path)
        state = StateFile(path, durable=False)
        for first in range(0, count, 1000):
            with state.writing() as connection:
                for number in range(first, first + 1000):
                    _issue(connection, number)
        state.checkpoint()
        _report(path, count)
        _cut(state, NOW + count // 40)
        state.close()


def _issue(connection: sqlite3.Connection, number: int) -> None:
    principal, now = f"p-{secrets.token_hex(16)}"[:18] + str(number % 500), NOW + number // 20
    event = Event(id=secrets.token_urlsafe(16), at=now, kind="token.issued", request_id=secrets.token_hex(16))
    event = replace(event, principal=principal, principal_name="octo-org/octo-repo", grant="practice-ci", key="openai")
    event = replace(event, issuer="https://token.actions.githubusercontent.com", jti=secrets.token_urlsafe(16))
    audit_rows.write(connection, replace(event, expires=now + 900, claims=_CLAIMS))
    _take_lock(connection, Lock(secrets.token_hex(32), now + 300, "", "", _ISSUED), now)
    counter_rows.add_one(connection, counters("tokens", "practice-ci", f"principal-{number % 500:028}", now))


def _cut(state: StateFile, before: int) -> None:
    """Cut half of the audit, give its pages back, and print what the file is then, and what one transaction of it takes."""
    removed = sum(sweep.cut_audit(state, before))
    steps, began = [0.0], time.thread_time()
    for _ in shrink.shrink(state):
        steps.append(time.thread_time() - began)
        state.checkpoint()
        began = time.thread_time()
    ended = {"events_cut": removed, "file": state.path.stat().st_size, "transactions": len(steps) - 1}
    print(json.dumps({**ended, "cpu_ms_each": round(statistics.median(steps) * 1000, 1)}))


def _report(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall()
        except sqlite3.Error:  # SQLite was built without it
            rows = []
        tables = dict(connection.execute("SELECT name, tbl_name FROM sqlite_schema").fetchall())
        sizes: dict[str, int] = {}
        for name, size in rows:
            sizes[tables.get(name, name)] = sizes.get(tables.get(name, name), 0) + size
        for table in ("audit", "locks", "counters"):
            held = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  a constant
            size = sizes.get(table, 0)
            print(
                json.dumps(
                    {
                        "table": table,
                        "rows": held,
                        "bytes_a_row": round(size / held),
                        "MB_a_million": round(size / held),
                    }
                )
            )
    print(
        json.dumps(
            {"tokens": count, "file": path.stat().st_size, "MB_a_million_tokens": round(path.stat().st_size / count)}
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
