"""What cuts off one principal, and which of its tokens that has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keybroker.console.in_force import Revocation


def own(found: Mapping[str, Any], known: Mapping[str, Revocation], now: float) -> list[Revocation]:
    """Return a principal's own revocations in force, the newest first.

    found: as the administration answers it, with the blocks that calls are checked against. known: what is known of
    revocations, by id; of one that is not known the time, the author and the reason are None.
    """
    # SECURITY: the blocks say who is cut off, however many newer revocations there are
    # (test_two_hundred_newer_ones_hide_no_revocation).
    blocks = [one for one in found["standing"]["blocks"] if one["until"] is None or now < one["until"]]
    unknown = {"scope": "principal", "target": found["principal"], "at": None, "author": None, "reason": None}
    mine = [
        known.get(one["revocation"]) or {**unknown, "id": one["revocation"], "until": one["until"]} for one in blocks
    ]
    return sorted(mine, key=lambda one: -(one["at"] or 0))


def wider(found: Mapping[str, Any], wide: Iterable[Revocation]) -> tuple[list[Revocation], bool]:
    """Return the wider revocations that stop calls of a principal, and whether they stop all that it was seen to make."""
    used = {(one["grant"], one["key"]) for one in [*found["today"]["grants"], *found["live_tokens"]]}
    touching = [one for one in wide if any(_stops(one, found["issuer"], *use) for use in used or {("", "")})]
    # A principal that has another grant or key left is not cut off by the end of one.
    left = [use for use in used if not any(_stops(one, found["issuer"], *use) for one in touching)]
    return touching, bool(touching) and not left


def dead(found: Mapping[str, Any], in_force: Sequence[Revocation], ended: Sequence[Revocation]) -> set[str]:
    """Return the ids of a principal's tokens that a revocation has ended.

    in_force: those that stop it or a token of it. ended: such as were restored; what was issued before them stays invalid.
    """

    def is_dead(token: Mapping[str, Any]) -> bool:
        later = [one for one in ended if one["at"] > token["at"]]
        return any(_ends(one, found, token) for one in (*in_force, *later))

    return {token["jti"] for token in found["live_tokens"] if is_dead(token)}


def _ends(one: Revocation, found: Mapping[str, Any], token: Mapping[str, Any]) -> bool:
    return (one["scope"], one["target"]) in (("principal", found["principal"]), ("token", token["jti"])) or _stops(
        one, found["issuer"], token["grant"], token["key"]
    )


def _stops(one: Revocation, issuer: str, grant: str, key: str) -> bool:
    ends = {"everything": "*", "issuer": issuer, "grant": grant, "key": key}
    return bool(one["target"]) and ends.get(one["scope"]) == one["target"]
