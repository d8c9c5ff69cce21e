"""Values that a terminal shows shorter than a file or a pipe, which have them whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from keybroker import duration
from keybroker.cli import output
from keybroker.cli.times import format_time


class Shortened(NamedTuple):
    """A value in both forms."""

    full: str
    short: str

    def __str__(self) -> str:
        return self.full


def age(at: int | None) -> Shortened | str:
    """Return a time, on a terminal as how long ago it was; "-" for none."""
    if not at:
        return "-"
    return Shortened(format_time(at), duration.words(max(0, int(time.time()) - at)))


def refused(by_reason: Mapping[str, int]) -> Shortened | str:
    """Return refusals by reason, on a terminal their number; "-" for none."""
    return Shortened(output.counts(by_reason), str(sum(by_reason.values()))) if by_reason else "-"


def principals(subs: Iterable[str]) -> dict[str, Shortened]:
    """Return principals' ids, on a terminal without their issuer where that is still one of these alone."""
    found = {sub: without_issuer(sub) for sub in subs}
    alone = Counter(found.values())
    return {sub: Shortened(sub, short if alone[short] == 1 else sub) for sub, short in found.items()}


def without_issuer(sub: str) -> str:
    """Return `repository_id:1234` for `https://issuer.example|repository_id:1234`; of an ARN the account and what follows."""
    return sub.rpartition("|")[2] if "|" in sub else sub.rpartition("::")[2]
