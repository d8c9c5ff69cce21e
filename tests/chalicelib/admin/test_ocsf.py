"""Events in OCSF, against the schema's own definition of the classes that we write."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.admin import ocsf
from chalicelib.audit import KINDS, Event
from tests.running import ROOT

SCHEMA = json.loads((ROOT / "tests" / "vectors" / "ocsf" / f"{ocsf.VERSION}.json").read_text())
EVERY = Event(
    id="e-1",
    at=1_800_000_000,
    kind="token.issued",
    request_id="r-1",
    principal="https://ci.example.com|sub:x",
    principal_name="octo/repo",
    issuer="https://ci.example.com",
    key="openai",
    grant="ci",
    jti="j-1",
    expires=1_800_000_900,
    actor="arn:aws:iam::123456789012:user/ada",
    claims={"email": "ada@example.com"},
)
REVOKED = {"scope": "grant", "target": "ci", "why": "it leaked", "revocation": "v-1"}
OF_PRINCIPAL = {**REVOKED, "scope": "principal", "target": "https://ci.example.com|sub:x"}
ROWS = {
    "token.issued": (300203, {}),
    "token.refused": (300203, {}),
    "revocation.made": (300409, REVOKED),
    "revocation.lifted": (300408, REVOKED),
    "policy.applied": (300403, {"file": "keybroker.yaml"}),
    "policy.kept": (300402, {"file": "keybroker.yaml"}),
    "key.set": (300401, {"version": "v2", "origin": "https://api.openai.com"}),
    "key.kept": (300402, {}),
    "key.rotation_begun": (300403, {"rotation": "r1", "overlap": "3600", "leaked": "false"}),
    "key.rotated": (
        300401,
        {"version": "v2", "origin": "https://api.openai.com", "provider_key": "key_1", "rotation": "r1"},
    ),
    "key.retired": (300404, {"rotation": "r1", "deleted": "key_0"}),
    "key.rotation_ended": (300403, {"rotation": "r1", "why": "aborted"}),
    "key.rolled_back": (300403, {"version": "v1", "replaces": "v2"}),
    "key.management_set": (300401, {"version": "m1", "origin": "https://api.openai.com"}),
    "key.minted": (300401, {"version": "minted-1", "expires": "1800003600", "assertion": "a", "request": "req_1"}),
    "key.mint_denied": (300499, {"why": "authentication_error", "request": "req_1"}),
    "key.mint_tried": (300499, {"expires": "1800003600", "assertion": "a", "request": "req_1"}),
    "keys.read": (300402, {}),
    "principal.pinned": (300199, {"unique_id": "AROA1"}),
    "signing.prepared": (300401, {"kid": "k-1"}),
    "signing.activated": (300410, {"kid": "k-1"}),
    "signing.tainted": (300409, {"kid": "k-1", "reason": "it leaked"}),
    "signing.retired": (300411, {"kid": "k-1"}),
    "admin.added": (300401, {"name": "ada"}),
    "admin.removed": (300404, {"name": "ada"}),
    "state.backed_up": (300402, {"file": "/backup"}),
    "state.restored": (300403, {}),
    "state.sealed": (300403, {"by": "kms"}),
    "audit.exported": (300402, {"since": "0", "until": "9"}),
    "audit.cut": (300404, {"before": "9"}),
}
"""By kind, the type's uid and a detail as such events have it."""


def faults(value: dict[str, Any], shape: dict[str, Any], path: str = "") -> list[str]:
    """Return where an object is not as OCSF has it: unknown, missing, of another type, or none of what one must be."""
    attributes = shape["attributes"]
    found = [
        f"{path}{name} is missing" for name, one in attributes.items() if one.get("required") and name not in value
    ]
    choice = shape.get("at_least_one", [])
    found += [f"{path}: one of {choice}"] if choice and not value.keys() & set(choice) else []
    for name, one in value.items():
        if name not in attributes:
            found.append(f"{path}{name} is unknown")
            continue
        known = attributes[name]
        if known["type"] in SCHEMA["objects"]:
            found += faults(one, SCHEMA["objects"][known["type"]], f"{path}{name}.")
        elif isinstance(one, list) != known.get("array", False):
            found.append(f"{path}{name} is a list, or should be one")
        elif "enum" in known and one not in known["enum"]:
            found.append(f"{path}{name} is {one}")
        elif known["type"] in ("timestamp_t", "integer_t", "long_t") and not isinstance(one, int):
            found.append(f"{path}{name} is no number")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_valid(kind: str) -> None:
    """Each kind of event has a class and an activity, and all that the schema requires of them."""
    type_uid, detail = ROWS[kind]
    reason = "no_grant" if kind == "token.refused" else ""
    for event in (
        replace(EVERY, kind=kind, detail=detail, reason=reason),
        Event(id="e-2", at=1, kind=kind, request_id="", detail=detail, reason=reason),
    ):
        found = ocsf.to_ocsf(event)
        assert faults(found, SCHEMA["classes"][str(found["class_uid"])]) == []
        assert found["type_uid"] == type_uid == found["class_uid"] * 100 + found["activity_id"]
        assert kind in ocsf.CLASSES
        assert (found["time"], found["metadata"]["uid"]) == (event.at * 1000, event.id)
        assert json.dumps(found).isascii()


@pytest.mark.parametrize(("kind", "type_uid"), [("revocation.made", 300502), ("revocation.lifted", 300501)])
def test_a_principals_revocation(kind: str, type_uid: int) -> None:
    """A principal that is revoked loses its privileges; anything else is an entity that is disabled."""
    found = ocsf.to_ocsf(replace(EVERY, kind=kind, detail=OF_PRINCIPAL))
    assert faults(found, SCHEMA["classes"]["3005"]) == []
    assert (found["type_uid"], found["user"]["uid"], found["status_detail"]) == (type_uid, EVERY.principal, "it leaked")


def test_what_a_token_carries() -> None:
    """An issued token is a session by its id; the caller is the user; nothing has the claims unless asked."""
    found = ocsf.to_ocsf(EVERY)
    assert found["session"] == {"uid": "j-1", "issuer": EVERY.issuer, "expiration_time": 1_800_000_900_000}
    assert (found["user"]["uid"], found["service"]["name"]) == (EVERY.principal, "openai")
    assert (found["status_id"], found["metadata"]["correlation_uid"]) == (1, "r-1")
    assert "ada@example.com" not in json.dumps(found)
    assert ocsf.to_ocsf(EVERY, claims=True)["unmapped"]["claims"] == {"email": "ada@example.com"}


def test_a_refusal_that_was_repeated() -> None:
    """A refusal fails with its reason, and says how often it was."""
    found = ocsf.to_ocsf(replace(EVERY, kind="token.refused", reason="no_grant", repeated=4))
    assert (found["status_id"], found["status_code"], found["count"]) == (2, "no_grant", 5)
