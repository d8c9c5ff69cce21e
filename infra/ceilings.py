"""Where each part of an installation ends by AWS's default quotas, in calls a second; part of docs/cost.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RATES = (10, 1_000, 50_000)
"""Calls a second for which the page says how much of each part they use."""
CALLS_OF_A_TOKEN = 100
"""Assumed: a job's token serves so many calls."""
TABLE_UNITS, NEW_READS, NEW_WRITES = 40_000, 12_000, 4_000
"""Units a second of an on-demand table: its default quota, of each kind, and what a new one takes at once."""
ITEM_READS, ITEM_WRITES, COPIES = 3_000, 1_000, 16
"""Units a second of one item, which no quota raises; how many copies of the items that all callers share there are."""
EXECUTIONS, EXECUTIONS_RATE = 1_000, 10
"""Executions at once in a region, and requests a second that each may take."""
DISTRIBUTION = 250_000
"""Requests a second of a CloudFront distribution."""
SIGNATURES = 1_000
"""KMS's ECC operations a second in a region; older pages say 300."""
DOOR_RATE, DOOR_EXECUTIONS = 100, 200
"""`RequestsPerSecond` and `Concurrency` of infra/public.yaml."""
NEAR, FAR = 0.020, 0.190
"""Billed seconds of a call beside the home region, and of one that is 180 ms away."""


@dataclass(frozen=True, slots=True)
class Units:
    """What an operation uses of the tables. reads: of `control`, a call. writes: of `counters`, a call. ledger: a token."""

    reads: float
    writes: float
    ledger: float


@dataclass(frozen=True, slots=True)
class Ceiling:
    """part: for the table. calls: at most, a second. ask: what raises it."""

    part: str
    calls: float
    ask: str


def ceilings(units: Units, token_seconds: float) -> tuple[Ceiling, ...]:
    """Return the parts, the one that ends first first. token_seconds: an execution of the broker for one token."""

    def edge(seconds: float) -> float:
        return EXECUTIONS * min(EXECUTIONS_RATE, 1 / seconds)

    def tokens(rate: float) -> float:
        return rate * CALLS_OF_A_TOKEN

    concurrency = "Lambda, Concurrent executions, in each region near callers"
    reads, writes = "DynamoDB, Table-level read throughput limit", "DynamoDB, Table-level write throughput limit"
    parts = (
        Ceiling(
            "one principal, or a `total`, below 32,000: its item", ITEM_WRITES, "a larger limit, a second one or grant"
        ),
        Ceiling("one principal, above: its revocations' item", ITEM_READS, "nothing but a second principal"),
        Ceiling("a new `counters`", NEW_WRITES / units.writes, "`CountersWrites`"),
        Ceiling("a new `control`", NEW_READS / units.reads, "`ControlReads`"),
        Ceiling("`control`, its quota", TABLE_UNITS / units.reads, reads),
        Ceiling("`counters`, its quota", TABLE_UNITS / units.writes, writes),
        Ceiling("the edge in one region, far away", edge(FAR), concurrency),
        Ceiling("the edge in one region, near", edge(NEAR), concurrency),
        Ceiling("a shared item in 16 copies", ITEM_READS * COPIES, "nothing but a second installation"),
        Ceiling("CloudFront", DISTRIBUTION, "CloudFront, Requests per second per distribution"),
        Ceiling("tokens: the broker's API", tokens(DOOR_RATE), "`RequestsPerSecond`, `Burst`; the account has 10,000"),
        Ceiling("tokens: KMS's signatures", tokens(SIGNATURES), "KMS, Cryptographic operations (ECC) request rate"),
        Ceiling("tokens: the broker's executions", tokens(DOOR_EXECUTIONS / token_seconds), "`Concurrency`"),
        Ceiling("tokens: a new `ledger`", tokens(NEW_WRITES / units.ledger), "`LedgerWrites`"),
        Ceiling("tokens: `ledger`, its quota", tokens(TABLE_UNITS / units.ledger), writes),
    )
    return tuple(sorted(parts, key=lambda one: one.calls))


def table(found: Sequence[Ceiling]) -> list[str]:
    """Return the table's lines: each part with its ceiling, how much of it each rate uses, and what raises it."""
    rates = " | ".join(f"at {rate:,}" for rate in RATES)
    rows = [
        f"| {one.part} | {int(one.calls):,} | {' | '.join(_share(rate / one.calls) for rate in RATES)} | {one.ask} |"
        for one in found
    ]
    return [f"| | calls/s | {rates} | What raises it |\n|---|---|{'---|' * len(RATES)}---|", *rows]


def _share(share: float) -> str:
    """Return how much is used; what does not fit in bold, in multiples of what there is."""
    if share > 1:
        return f"**{share:.3g} x**"
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}" if share >= 0.001 else "under 0.1%"
