"""The proof that a revocation holds: what was admitted and refused since it was acknowledged, by the counters that enforce limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keybroker.cli import status
from keybroker.cli.admin_client import segment
from keybroker.cli.command_error import CommandError
from keybroker.console.api import Problem, problem
from keybroker.console.console import Console, total
from keybroker.console.server import Page, Request
from keybroker.errors import KeybrokerError


@dataclass(frozen=True, slots=True)
class Proof:
    """What happened since. admitted, refused: None where it is not known, with `problem` saying why if it is a failure."""

    revocation: Mapping[str, Any]
    acknowledged: float
    counted_from: float
    """From when on the numbers count: the acknowledgement, if this console made the revocation, or the next minute."""
    is_exact: bool
    """Whether they count from the acknowledgement itself."""
    admitted: int | None
    refused: int | None
    problem: Problem | None = None
    took: float | None = None
    """Seconds that the revocation took, where this console made it."""


def show(console: Console, request: Request) -> Page:
    """Show the proof alone, as it is now."""
    sub = request.query.get("id", "")
    found = console.api.get("/admin/revocations", {"scope": "principal", "in_force": "true", "limit": 200})
    items = (found.data or {}).get("items", [])
    mine = [one for one in items if one["id"] == request.query.get("revocation") and one["target"] == sub]
    return console.page("proof_live.html", "", (found,), proof=proof_of(console, mine[0]) if mine else None, sub=sub)


def proof_of(console: Console, revocation: Mapping[str, Any]) -> Proof:
    """Return the proof of a principal's revocation."""
    sub, noted = revocation["target"], console.noted.get(revocation["id"])
    if noted is None:
        return _by_minutes(console, revocation, sub)
    found = console.api.get(f"/admin/principals/{segment(sub)}")
    calls, refused = total(found.data)
    midnight = console.clock() // 86400 != noted.acknowledged // 86400
    if midnight or found.problem or found.data is None:
        return _by_minutes(console, revocation, sub)
    return Proof(
        revocation,
        noted.acknowledged,
        noted.acknowledged,
        is_exact=True,
        admitted=calls - noted.calls,
        refused=refused - noted.refused,
        took=noted.took,
    )


def _by_minutes(console: Console, revocation: Mapping[str, Any], sub: str) -> Proof:
    at, now = revocation["at"], int(console.clock())
    try:
        since = status.calls_since(console.api.client, sub, at, now)
    except (CommandError, KeybrokerError) as fault:
        return Proof(revocation, at, at, is_exact=False, admitted=None, refused=None, problem=problem(fault))
    if since is None:
        return Proof(revocation, at, at, is_exact=False, admitted=None, refused=None)
    counted = since["from"] or at
    return Proof(
        revocation, at, counted, is_exact=False, admitted=since["calls_admitted"], refused=since["calls_refused"]
    )
