"""What is done about rotations every few minutes without anybody asking: keys whose overlap has ended are deleted at their providers."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import Event
from chalicelib.errors import Refusal
from chalicelib.providers.rotation import OVERLAP
from chalicelib.providers.versions import KeyInfo
from chalicelib.rotation.rotate import Record

EVENT: Mapping[str, str] = {"keybroker": "retire"}
"""What the schedule on AWS sends. No request can be it: API Gateway wraps each in an event of its own."""
ACTOR = "schedule"
"""Who is named in the audit."""


def retire_due(ports: AdminPorts) -> dict[str, str]:
    """Delete what is due; return the outcome by key: `retired`, or why it was not, a fixed word. Raises Unavailable.

    What a provider or another attempt keeps from being done is due again the next time.
    """
    now, rotator, outcomes = ports.clock(), ports.rotator(), {}
    for info in ports.keys.known_keys():
        rotation = info.rotation
        if rotation is None or rotation.step != OVERLAP or now < rotation.ends or rotation.busy(now):
            continue
        try:
            after = rotator.advance(info, _recording(ports, info)).rotation
            outcomes[info.name] = after.problem if after else "retired"
        except Refusal as refusal:  # of one key, which the others do not wait for
            outcomes[info.name] = refusal.reason
    return outcomes


def _recording(ports: AdminPorts, info: KeyInfo) -> Record:
    def record(kind: str, detail: dict[str, str]) -> Event:
        return Event(
            id=ports.new_id(), at=ports.clock(), kind=kind, request_id="", key=info.name, actor=ACTOR, detail=detail
        )

    return record
