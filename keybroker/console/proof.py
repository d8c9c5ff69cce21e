"""The proof that a revocation holds: what was admitted and refused since it was acknowledged, by the counters that enforce limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from keybroker.cli import status
from keybroker.cli.admin_client import segment
from keybroker.cli.command_error import CommandError
from keybroker.console import cut_off
from keybroker.console.api import RUBBISH, Known, Problem, problem
from keybroker.console.console import Console, total
from keybroker.console.server import Page, Request
from keybroker.errors import KeybrokerError


@dataclass(frozen=True, slots=True)
class Proof:
    """What happened since. admitted, refused: None where it is not known, with `problem` saying why if it is a failure."""

    revocation: Mapping[str, Any]
    acknowledged: float | None
    """None where it is not known any more."""
    counted_from: float
    """From when on the numbers count: the acknowledgement, if this console made the revocation, or the next minute."""
    is_exact: bool
    """Whether they count from the acknowledgement itself."""
    admitted: int | None
    refused: int | None
    problem: Problem | None = None
    took: float | None = None
    """Seconds that the revocation took, where this console made it."""


PRINCIPAL: Final = ("principal", "name", "issuer", "standing", "today", "hour", "live_tokens", "complete")
"""What is read of a principal."""


def show(console: Console, request: Request) -> Page:
    """Show the proof alone, as it is now."""
    sub, wanted = request.query.get("id", ""), request.query.get("revocation", "")
    found = console.api.get(f"/admin/principals/{segment(sub)}", members=PRINCIPAL)
    own = cut_off.own(found.data, console.revocations, console.clock()) if found.data else []
    mine = next((one for one in own if one["id"] == wanted), None)
    proof = proof_of(console, mine, found) if mine else None
    return console.page("proof_live.html", "", (found,), proof=proof, sub=sub)


def proof_of(console: Console, revocation: Mapping[str, Any], found: Known) -> Proof:
    """Return the proof of a principal's revocation. found: the principal, as it is answered."""
    noted = console.noted.get(revocation["id"])
    midnight = noted is not None and console.clock() // 86400 != noted.acknowledged // 86400
    if noted is None or midnight or found.problem or found.data is None:
        return _by_minutes(console, revocation)
    calls, refused = total(found.data)
    return Proof(
        revocation,
        noted.acknowledged,
        noted.acknowledged,
        is_exact=True,
        admitted=calls - noted.calls,
        refused=refused - noted.refused,
        took=noted.took,
    )


def _by_minutes(console: Console, revocation: Mapping[str, Any]) -> Proof:
    at, now = revocation["at"], int(console.clock())
    unknown = Proof(revocation, at, at or 0, is_exact=False, admitted=None, refused=None)
    if at is None:
        return unknown
    try:
        since = status.calls_since(console.api.client, revocation["target"], at, now)
    except (CommandError, KeybrokerError) as fault:
        return replace(unknown, problem=problem(fault))
    except (LookupError, TypeError):
        return replace(unknown, problem=RUBBISH)
    if since is None:
        return unknown
    counted = since["from"] or at
    return replace(unknown, counted_from=counted, admitted=since["calls_admitted"], refused=since["calls_refused"])
