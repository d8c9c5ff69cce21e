"""What one call costs at the edge, over the state file that several processes share; and how many there can be."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jwt

from chalicelib import quota
from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Call
from chalicelib.edge.state import Snapshot, Wanted
from chalicelib.errors import Unavailable
from chalicelib.revocation import EVERYTHING, RevocationTarget
from local.provider_key_file import ProviderKeyFile
from local.signing_key_file import SigningKeyFile
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import WAIT_MS, StateFile
from tests.bench.crowd import Burst, Case, Crowd, gathered
from tests.bench.table import Cell, Table
from tests.parts import BROKER, CI, NOW, SUB, grant, parts_in

PROCESSES = (1, 4)
ROUNDS, TIMES = 10, 1_000
"""In each round every case is done so many times, by all its processes together."""
TOKENS = 20
"""Tokens of each process, used in turn: of as many principals, and of one."""
POLICY = grant(quota="{tokens: 1000000/hour, calls: [1000000/minute, 100000000/day]}")

DISTINCT, SAME, STATE = "admission, many principals", "admission, one principal", "state I/O only, one principal"
UPSERT, DECODE = "bare: one upsert in SQLite", "bare: jwt.decode ES256"
TOGETHER = "state I/O of 8 calls in one transaction"
CASES = (DISTINCT, SAME, STATE, TOGETHER, UPSERT, DECODE)


@dataclass(frozen=True, slots=True)
class Stage:
    """What every process is given. many: tokens for each process, each of another principal; one: all of the same."""

    directory: Path
    many: Sequence[Sequence[str]]
    one: Sequence[str]


def tables() -> Iterator[Table]:
    """Yield the table: admissions beside the two things that none can do without."""
    with tempfile.TemporaryDirectory() as name, parts_in(Path(name)) as parts:
        parts.apply(POLICY)
        each = iter([parts.token(repository_id=str(2000 + number)) for number in range(max(PROCESSES) * TOKENS)])
        many = [list(itertools.islice(each, TOKENS)) for _ in range(max(PROCESSES))]
        stage = Stage(Path(name), many, [parts.token() for _ in range(TOKENS)])
        _make_bare(stage.directory)
        state = StateFile(stage.directory / "state.db", durable=False)
        with (
            contextlib.closing(state),
            contextlib.closing(sqlite3.connect(stage.directory / "bare.db")) as bare,
            gathered(partial(_cases, stage), max(PROCESSES)) as crowd,
        ):
            # What local/sqlite/maintenance.py does every other second.
            found = _bursts(
                crowd, (state.checkpoint, lambda: bare.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall())
            )
    yield Table(
        "One call at the edge: a token whose signature was seen before, one round trip to SQLite, decide; no HTTP",
        ("case", "processes", "a second", "p50 µs", "p99 µs", "503", "x upsert", "x decode"),
        [_row(case, processes, found) for processes in PROCESSES for case in CASES],
        (
            f"{ROUNDS} interleaved rounds of {TIMES:,} by all processes together. A second: those that were done, median of the",
            f"rounds. p50, p99: of all, done or not. 503: not done, for the file was another writer's for {WAIT_MS} ms. x: p50",
            "over that of the bare one, by as many processes.",
        ),
    )


def _bursts(crowd: Crowd, upkeep: Sequence[Callable[[], object]]) -> dict[tuple[str, int], list[Burst]]:
    """Do every case with every number of processes in turn, each round beginning with another."""
    turns = list(itertools.product(CASES, PROCESSES))
    found: dict[tuple[str, int], list[Burst]] = {turn: [] for turn in turns}
    for number in range(ROUNDS + 1):
        for case, processes in turns[number % len(turns) :] + turns[: number % len(turns)]:
            burst = crowd.burst(case, processes, TIMES // processes)
            for keep in upkeep:
                keep()
            if number:  # one round more goes ahead
                found[case, processes].append(burst)
    return found


def _row(case: str, processes: int, found: Mapping[tuple[str, int], Sequence[Burst]]) -> tuple[Cell, ...]:
    bursts = found[case, processes]
    seconds = sorted(itertools.chain.from_iterable(burst.seconds for burst in bursts))
    put_off = sum(burst.put_off for burst in bursts) / len(seconds)
    middle = statistics.median(seconds)
    bare = (_median(found[one, processes]) for one in (UPSERT, DECODE))
    rate = statistics.median(burst.rate() for burst in bursts)
    tail = seconds[len(seconds) * 99 // 100]
    return case, str(processes), rate, middle * 1e6, tail * 1e6, f"{put_off:.2%}", *(middle / one for one in bare)


def _median(bursts: Sequence[Burst]) -> float:
    return statistics.median(itertools.chain.from_iterable(burst.seconds for burst in bursts))


def _cases(stage: Stage, number: int) -> dict[str, Case]:
    """Make the cases of one process."""
    return {
        DISTINCT: _admission(stage.directory, stage.many[number]),
        SAME: _admission(stage.directory, stage.one),
        STATE: _state(stage.directory),
        TOGETHER: _state(stage.directory, 8),
        UPSERT: _upsert(stage.directory, number),
        DECODE: _decode(stage.directory, stage.many[number]),
    }


def _admission(directory: Path, tokens: Sequence[str]) -> Case:
    # As Machine.edge_ports (local/machine.py) puts it together.
    edge_state = SqliteEdgeState(StateFile(directory / "state.db", durable=False).bind())
    signing, provider = SigningKeyFile(directory / "signing-key.pem"), ProviderKeyFile(directory / "provider-keys.json")
    edge, turns = Edge(edge_state, signing, provider, BROKER), itertools.cycle(tokens)

    def admit() -> bool:
        try:
            admission.admit(Call(next(turns), "openai", "POST", "/v1/chat/completions", "198.51.100.7"), edge, NOW)
        except Unavailable:
            return False
        return True

    return admit


def _state(directory: Path, calls: int = 1) -> Case:
    """Do nothing but read and count, so that the file is being written nearly all the time: its highest load.

    calls: how many at once, all of one principal.
    """
    edge_state = SqliteEdgeState(StateFile(directory / "state.db", durable=False).bind())
    named = {"issuer": CI, "key": "openai", "grant": "app", "principal": SUB, "token": "token-1"}
    targets = {"everything": EVERYTHING, **{scope: RevocationTarget(scope, one) for scope, one in named.items()}}
    counters = quota.counters("calls", "app", SUB, NOW)

    group = [Wanted(targets, counters)] * calls

    def read_and_count() -> bool:
        if calls > 1:
            return all(isinstance(one, Snapshot) for one in edge_state.read_and_count_all(group))
        try:
            edge_state.read_and_count(targets, counters)
        except Unavailable:
            return False
        return True

    return read_and_count


def _make_bare(directory: Path) -> None:
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE counters (id INTEGER PRIMARY KEY, taken INTEGER NOT NULL)")
    connection.close()


def _upsert(directory: Path, number: int) -> Case:
    """Count in one row, with the settings of local/sqlite/state_file.py."""
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None, timeout=WAIT_MS / 1000)
    for setting in ("synchronous = NORMAL", "wal_autocheckpoint = 0"):
        connection.execute(f"PRAGMA {setting}")
    statement = (
        "INSERT INTO counters (id, taken) VALUES (?, 1) ON CONFLICT DO UPDATE SET taken = taken + 1 RETURNING taken"
    )

    def upsert() -> bool:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute(statement, (number,)).fetchone()
        connection.execute("COMMIT")
        return True

    return upsert


def _decode(directory: Path, tokens: Sequence[str]) -> Case:
    key = SigningKeyFile(directory / "signing-key.pem")
    verifying, turns = key.find(key.kid(), NOW).key, itertools.cycle(tokens)

    def decode() -> bool:
        jwt.decode(
            next(turns),
            verifying,
            algorithms=["ES256"],
            audience="openai",
            issuer=BROKER,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},  # the tests' clock stands still
        )
        return True

    return decode
