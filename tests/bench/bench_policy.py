"""What it costs to read a policy file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import yaml

from chalicelib.policy import compile as policy
from chalicelib.policy import lint
from tests.bench.interleaved import interleaved
from tests.bench.large_policy import large_policy
from tests.bench.table import Table
from tests.parts import DIALECT

ROUNDS = 3
SIZES = (10, 1_000, 10_000)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def tables() -> Iterator[Table]:
    """Yield the table: CPU time of reading, beside the YAML parser's own."""
    texts = {size: large_policy(size, issuers=min(size, 200)) for size in SIZES}
    cases: dict[str, Callable[[], object]] = {}
    for size, text in texts.items():
        cases[f"parse {size}"] = partial(policy.parse, text, rules=DIALECT)
        cases[f"yaml {size}"] = partial(yaml.compose, text, _LOADER)
        cases[f"lint {size}"] = partial(lint.lint, policy.parse(text, rules=DIALECT), DIALECT.presets)
    found = interleaved(cases, ROUNDS)
    rows = [
        (
            f"{size:,}",
            len(texts[size]) / 1000,
            found[f"parse {size}"] * 1000,
            found[f"parse {size}"] / size * 1e6,
            found[f"parse {size}"] / found[f"yaml {size}"],
            found[f"lint {size}"] * 1000,
        )
        for size in SIZES
    ]
    yield Table(
        "Reading a policy file: YAML to checked grants with their lines; and lint",
        ("grants", "file kB", "parse CPU ms", "µs a grant", "x yaml.compose", "lint CPU ms"),
        rows,
        (f"Median of {ROUNDS} interleaved rounds; {min(SIZES)} issuers for {min(SIZES)} grants, 200 for the others.",),
    )
