"""What was observed, in the form in which it is kept: tests/sdks/results.json, from which docs/clients.md is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.sdks.cases import Outcome

FILE = Path(__file__).resolve().parent / "results.json"
_EXCHANGE = "/oauth/token"
_STEADY = (
    (re.compile(r"http://127\.0\.0\.1:\d+"), "EDGE"),
    (re.compile(r"headers: \{.*?\}, status_code"), "headers: {…}, status_code"),
    (re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}"), "REQUEST"),
    (re.compile(r"ends in \d+ s"), "ends in N s"),
    (re.compile(r"ends in \d+ (?:min|h|d)"), "ends in N h"),
)
"""What differs from run to run, and what stands for it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One case. said: the text, or the error. statuses: of the requests for the API, in their order.

    token_in: the headers that had the token. wait: how long several requests took, roughly; "" if no time to speak of.
    """

    said: str
    is_error: bool
    pieces: int
    statuses: tuple[int, ...]
    token_in: tuple[str, ...]
    wait: str


@dataclass(frozen=True, slots=True)
class Result:
    """One client. version: as it says itself."""

    version: str
    cases: Mapping[str, Record]


def record(outcome: Outcome) -> Record:
    """Return an outcome without what differs from run to run."""
    # Coding agents also look whether the edge is there, and which models.
    calls = [one for one in outcome.seen if one.method == "POST" and not one.path.endswith(_EXCHANGE)]
    said = outcome.said
    return Record(
        said=steady(said.error or said.text),
        is_error=bool(said.error),
        pieces=said.pieces,
        statuses=tuple(one.status for one in calls),
        token_in=tuple(sorted({name for one in calls for name in one.token_in})),
        wait=_roughly(outcome.seconds) if len(calls) > 1 else "",  # else it is the machine's own slowness
    )


def steady(text: str) -> str:
    """Return a text with words for what differs from run to run, in one line."""
    for found, instead in _STEADY:
        text = found.sub(instead, text)
    return " ".join(text.split())


def _roughly(seconds: float) -> str:
    if seconds < 4:
        return ""
    return "some seconds" if seconds < 40 else f"about {round(seconds / 60)} min"


def read() -> dict[str, Result]:
    """Return what is kept, by the client's name."""
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return {
        name: Result(one["version"], {case: _record(found) for case, found in one["cases"].items()})
        for name, one in kept.items()
    }


def _record(found: Mapping[str, object]) -> Record:
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return Record(**lists)  # type: ignore[arg-type]  # written by `write`


def write(results: Mapping[str, Result], order: tuple[str, ...]) -> None:
    """Keep results, those of the named clients and no others."""
    kept = {name: asdict(results[name]) for name in order if name in results}
    FILE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
