"""`python -m infra.cost` writes the tables in docs/cost.md from list prices; a test checks that the page is up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from infra import ceilings
from infra.edge.dependencies import ROOT

PAGE = ROOT / "docs" / "cost.md"
BEGIN, END = "<!-- computed: python -m infra.cost -->", "<!-- end -->"

PRICES: Mapping[str, tuple[float, str]] = {
    "API Gateway, REST request": (3.50e-6, "first 333 million a month"),
    "Lambda, request": (0.20e-6, ""),
    "Lambda, GB-second": (0.0000166667, "x86_64"),
    "Lambda@Edge, request": (0.60e-6, ""),
    "Lambda@Edge, GB-second": (0.00005001, ""),
    "CloudFront, HTTPS request": (1.00e-6, "US and Europe; others up to 2.2 times"),
    "CloudFront, GB to the internet": (0.085, "first 10 TB a month, US and Europe"),
    "CloudFront function, run": (0.10e-6, ""),
    "DynamoDB, read unit": (0.125e-6, "on demand; strongly consistent, 4 KB"),
    "DynamoDB, write unit": (0.625e-6, "on demand; 1 KB; two in a transaction"),
    "DynamoDB, GB-month": (0.25, "beyond the first 25 GB"),
    "DynamoDB, GB-month of point-in-time recovery": (0.20, ""),
    "KMS, ECC signature": (15.00e-6, "$0.15 for 10,000: sources differ, see below"),
    "KMS, key-month": (1.00, ""),
    "Secrets Manager, secret-month": (0.40, ""),
    "WAF, web ACL-month": (5.00, ""),
    "WAF, rule-month": (1.00, ""),
    "WAF, request": (0.60e-6, ""),
    "CloudWatch, GB of log lines": (0.50, "taken in, once"),
    "CloudWatch, metric-month": (0.30, "first 10,000"),
    "CloudWatch, alarm-month": (0.10, "standard resolution"),
    "CloudWatch, dashboard-month": (3.00, "the first three are free"),
}
"""Price in dollars in us-east-1, and a note."""

MEMORY_GB = 0.5
EXCHANGE_SECONDS, EDGE_SECONDS = 0.060, 0.020
"""Billed for a warm exchange (two DynamoDB round trips, KMS beside the second) and a warm call (one). Assumed."""
ANSWER_GB = 10e3 / 1e9
"""The size of a call's response. Assumed."""
EXCHANGE_LOG_GB = 1.4e3 / 1e9
"""Two of our log lines and three of Lambda's."""
EDGE_LOG_GB = 0.3e3 / 1e9
"""Lambda's own three log lines; ours is written only for a refusal."""
AUDIT_GB = 1738 / 1e9
"""The audit event of a token issued to GitHub Actions; kept for ever (docs/data-model.md)."""
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Term:
    """One cost of an operation. what: for the table. price: a name in PRICES. count: units per operation."""

    what: str
    price: str
    count: float

    def dollars(self) -> float:
        """Return the cost of a million operations."""
        return PRICES[self.price][0] * self.count * MILLION


TOKEN = (
    Term("API Gateway", "API Gateway, REST request", 1),
    Term("WAF, the limit of an address", "WAF, request", 1),
    Term("Lambda, request", "Lambda, request", 1),
    Term("Lambda, 512 MB for 60 ms", "Lambda, GB-second", MEMORY_GB * EXCHANGE_SECONDS),
    Term("DynamoDB, reads (10 units)", "DynamoDB, read unit", 10),
    Term("DynamoDB, one transaction (10 units)", "DynamoDB, write unit", 10),
    Term("KMS, one signature", "KMS, ECC signature", 1),
    Term("CloudWatch, log lines (1.4 KB)", "CloudWatch, GB of log lines", EXCHANGE_LOG_GB),
)
"""One token for a GitHub Actions identity token, with the grant named (docs/data-model.md counts its units)."""
CALL = (
    Term("CloudFront, request", "CloudFront, HTTPS request", 1),
    Term("CloudFront, the answer (10 KB)", "CloudFront, GB to the internet", ANSWER_GB),
    Term("CloudFront, the function at the answer", "CloudFront function, run", 1),
    Term("Lambda@Edge, request", "Lambda@Edge, request", 1),
    Term("Lambda@Edge, 512 MB for 20 ms", "Lambda@Edge, GB-second", MEMORY_GB * EDGE_SECONDS),
    Term("DynamoDB, one batch read (6 units)", "DynamoDB, read unit", 6),
    Term("DynamoDB, two counters (2 units)", "DynamoDB, write unit", 2),
    Term("CloudWatch, log lines (0.3 KB)", "CloudWatch, GB of log lines", EDGE_LOG_GB),
)
"""One admitted call under a grant without a `total`."""
FIXED = (
    Term("4 KMS keys", "KMS, key-month", 4 / MILLION),
    Term("2 provider keys", "Secrets Manager, secret-month", 2 / MILLION),
    Term("a web ACL", "WAF, web ACL-month", 1 / MILLION),
    Term("its one rule", "WAF, rule-month", 1 / MILLION),
    Term("7 alarms", "CloudWatch, alarm-month", 7 / MILLION),
    Term("20 metrics (5 keys, 4 outcomes)", "CloudWatch, metric-month", 20 / MILLION),
)
"""The monthly cost without any calls."""
RUNS = {minutes: 30 * 24 * 60 // minutes for minutes in (5, 1)}
"""Runs of the watcher in a month, by the minutes between them."""
WATCHING = (
    Term("14 alarms", "CloudWatch, alarm-month", 14 / MILLION),
    Term("44 metrics (14, and 6 for each of 5 keys)", "CloudWatch, metric-month", 44 / MILLION),
    Term("a dashboard", "CloudWatch, dashboard-month", 1 / MILLION),
    Term("the watcher, each 5 minutes, 512 MB for half a second", "Lambda, GB-second", 0.25 * RUNS[5] / MILLION),
    Term("its log lines (10 KB a run)", "CloudWatch, GB of log lines", 10e3 / 1e9 * RUNS[5] / MILLION),
)
"""The monthly cost of watching with `Alarms: all` and the dashboard, without the reads. The run is assumed."""
CROWDS = (50, 200, 1000, 10_000)
"""Principals that are active on a day."""


def total(terms: Iterable[Term]) -> float:
    """Return the cost of a million operations, or of a month for FIXED."""
    return sum(term.dollars() for term in terms)


def tables() -> str:
    """Return the page's tables."""
    largest = {name: max(terms, key=Term.dollars) for name, terms in (("token", TOKEN), ("call", CALL))}
    ratios = [
        f"| {calls:,} | {total(TOKEN) / calls + total(CALL):.2f} | {total(TOKEN) / calls / (total(TOKEN) / calls + total(CALL)):.0%} |"
        for calls in (1, 10, 100, 1000)
    ]
    share = {name: term.dollars() / total(TOKEN if name == "token" else CALL) for name, term in largest.items()}
    audit = PRICES["DynamoDB, GB-month"][0] + PRICES["DynamoDB, GB-month of point-in-time recovery"][0]
    parts = (
        "### A million tokens\n",
        *_table(TOKEN),
        f"\nThe largest term is **{largest['token'].what}**, {share['token']:.0%}.\n",
        "### A million calls\n",
        *_table(CALL),
        f"\nThe largest term is **{largest['call'].what}**, {share['call']:.0%}; {_dynamodb_share():.0%} is DynamoDB.\n",
        "### Both together\n",
        "| Calls with each token | $ a million calls, their tokens in it | Of that, tokens |\n|---|---|---|",
        *ratios,
        "\n### A month without a call\n",
        *_table(FIXED),
        f"\nThe audit of a million tokens takes {AUDIT_GB * MILLION:.2f} GB, which is ${AUDIT_GB * MILLION * audit:.2f} more.\n",
        "### A month of watching\n",
        *_table(WATCHING),
        "\nWithout what it reads, which depends on the principals of a day, of whom a tenth call in each run:\n",
        "| Principals | Read units a run | $ a month, each 5 minutes | $ a month, each minute |\n|---|---|---|---|",
        *(
            f"| {crowd:,} | {run_units(crowd):,.0f} | {_reads(crowd, 5):.2f} | {_reads(crowd, 1):.2f} |"
            for crowd in CROWDS
        ),
        "\n### Where each part ends\n",
        *ceilings.table(ceilings.ceilings(_units(), EXCHANGE_SECONDS)),
        "\n### Prices\n",
        "| | $ | |\n|---|---|---|",
        *(f"| {name} | {_price(dollars)} | {note} |" for name, (dollars, note) in PRICES.items()),
    )
    return "\n".join(parts)


def run_units(principals: int) -> float:
    """Return the read units of a run of the watcher: an item of each, two more of a tenth, the index, and the keys."""
    return principals + 2 * principals / 10 + principals * 0.15 / 8 + 5


def _reads(principals: int, minutes: int) -> float:
    return run_units(principals) * RUNS[minutes] * PRICES["DynamoDB, read unit"][0]


def _units() -> ceilings.Units:
    def of(terms: Iterable[Term], kind: str) -> float:
        return sum(term.count for term in terms if term.price == f"DynamoDB, {kind} unit")

    return ceilings.Units(reads=of(CALL, "read"), writes=of(CALL, "write"), ledger=of(TOKEN, "write"))


def _dynamodb_share() -> float:
    return sum(term.dollars() for term in CALL if term.price.startswith("DynamoDB")) / total(CALL)


def _price(dollars: float) -> str:
    return f"{dollars:.10f}".rstrip("0").rstrip(".") if dollars >= 1e-5 else f"{dollars * MILLION:.3f} a million"


def _table(terms: Sequence[Term]) -> list[str]:
    rows = [f"| {term.what} | {term.dollars():.2f} |" for term in terms]
    return ["| | $ |\n|---|---|", *rows, f"| **together** | **{total(terms):.2f}** |"]


def update(page: str) -> str:
    """Return the page with its tables computed again; raises ValueError if it has no markers for them."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def main() -> int:
    """Update the page's tables."""
    PAGE.write_text(update(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
