"""An event of the audit in the Open Cybersecurity Schema Framework (https://schema.ocsf.io), which SIEMs read."""

from __future__ import annotations

from typing import Any, NamedTuple

from chalicelib.audit import Event

VERSION = "1.5.0"
"""The schema's version that every event names."""
_AUTHENTICATION, _USER_ACCESS, _ENTITY, _ACCOUNT = 3002, 3005, 3004, 3001
_CREATE, _READ, _UPDATE, _DELETE, _ENABLE, _DISABLE, _ACTIVATE, _DEACTIVATE = 1, 2, 3, 4, 8, 9, 10, 11
_TICKET, _ASSIGN, _REVOKE, _OTHER = 3, 1, 2, 99
_INFORMATIONAL, _LOW, _MEDIUM = 1, 2, 3
_POLICY_TYPE, _OTHER_TYPE = 5, 99
_OAUTH = 6


class Class(NamedTuple):
    """What an event of ours is in OCSF. uid: the class; its first digit is the category."""

    uid: int
    activity: int
    severity: int = _INFORMATIONAL
    entity: str = ""
    """Of Entity Management: the type of what was managed."""


CLASSES = {
    "token.issued": Class(_AUTHENTICATION, _TICKET),
    "token.refused": Class(_AUTHENTICATION, _TICKET, _LOW),
    "revocation.made": Class(_ENTITY, _DISABLE, _MEDIUM),
    "revocation.lifted": Class(_ENTITY, _ENABLE, _MEDIUM),
    "policy.applied": Class(_ENTITY, _UPDATE, _MEDIUM, "policy"),
    "policy.kept": Class(_ENTITY, _READ, _LOW, "policy"),
    "key.set": Class(_ENTITY, _CREATE, _MEDIUM, "provider key"),
    "key.kept": Class(_ENTITY, _READ, _LOW, "provider key"),
    "key.rotation_begun": Class(_ENTITY, _UPDATE, _LOW, "provider key"),
    "key.rotated": Class(_ENTITY, _CREATE, _MEDIUM, "provider key"),
    "key.retired": Class(_ENTITY, _DELETE, _MEDIUM, "provider key"),
    "key.rotation_ended": Class(_ENTITY, _UPDATE, _LOW, "provider key"),
    "key.rolled_back": Class(_ENTITY, _UPDATE, _MEDIUM, "provider key"),
    "key.management_set": Class(_ENTITY, _CREATE, _MEDIUM, "management key"),
    "key.minted": Class(_ENTITY, _CREATE, _INFORMATIONAL, "provider key"),
    "key.mint_denied": Class(_ENTITY, _OTHER, _MEDIUM, "provider key"),
    "key.mint_tried": Class(_ENTITY, _OTHER, _LOW, "provider key"),
    "keys.read": Class(_ENTITY, _READ, _INFORMATIONAL, "provider key"),
    "principal.pinned": Class(_ACCOUNT, _OTHER, _MEDIUM),
    "signing.prepared": Class(_ENTITY, _CREATE, _MEDIUM, "signing key"),
    "signing.activated": Class(_ENTITY, _ACTIVATE, _MEDIUM, "signing key"),
    "signing.tainted": Class(_ENTITY, _DISABLE, _MEDIUM, "signing key"),
    "signing.retired": Class(_ENTITY, _DEACTIVATE, _MEDIUM, "signing key"),
    "admin.added": Class(_ENTITY, _CREATE, _MEDIUM, "administrator"),
    "admin.removed": Class(_ENTITY, _DELETE, _MEDIUM, "administrator"),
    "state.backed_up": Class(_ENTITY, _READ, _LOW, "state"),
    "state.restored": Class(_ENTITY, _UPDATE, _MEDIUM, "state"),
    "state.sealed": Class(_ENTITY, _UPDATE, _MEDIUM, "state"),
    "audit.exported": Class(_ENTITY, _READ, _INFORMATIONAL, "audit"),
    "audit.cut": Class(_ENTITY, _DELETE, _MEDIUM, "audit"),
}
"""By kind. A kind that is not here is an Entity Management event of another activity, so that no event is lost."""
_OF_PRINCIPAL = {
    "revocation.made": Class(_USER_ACCESS, _REVOKE, _MEDIUM),
    "revocation.lifted": Class(_USER_ACCESS, _ASSIGN, _MEDIUM),
}
_UNKNOWN = Class(_ENTITY, _OTHER, _LOW, "keybroker")
_NAMED_BY = ("kid", "name", "version", "file", "by", "before", "until")
"""Members of an event's detail that say what was managed, the first one that is there."""


def to_ocsf(event: Event, *, claims: bool = False) -> dict[str, Any]:
    """Return an event as an OCSF event. claims: whether to add the caller's verified claims, which name people."""
    found = _class_of(event)
    refused = event.kind == "token.refused"
    times = f" ({event.repeated} times more)" if event.repeated else ""
    return {
        "metadata": {
            "version": VERSION,
            "product": {"name": "Keybroker", "vendor_name": "Keybroker"},
            "uid": event.id,
            "event_code": event.kind,
            **_set(correlation_uid=event.request_id),
        },
        "category_uid": found.uid // 1000,
        "class_uid": found.uid,
        "activity_id": found.activity,
        "type_uid": found.uid * 100 + found.activity,
        "severity_id": found.severity,
        "time": event.at * 1000,
        "status_id": 2 if refused else 1,
        **_set(status_code=event.reason),
        "message": f"{event.kind}{': ' if event.reason else ''}{event.reason}{times}",
        **({"count": event.repeated + 1} if event.repeated else {}),
        **({"actor": {"user": {"uid": event.actor}}} if event.actor else {}),
        **_SUBJECTS[found.uid](event, found),
        "unmapped": _unmapped(event, claims=claims),
    }


def _class_of(event: Event) -> Class:
    if event.kind in _OF_PRINCIPAL and event.detail.get("scope") == "principal":
        return _OF_PRINCIPAL[event.kind]
    return CLASSES.get(event.kind, _UNKNOWN)


def _authentication(event: Event, _found: Class) -> dict[str, Any]:
    token = {"uid": event.jti, "issuer": event.issuer}
    expires = {"expiration_time": event.expires * 1000} if event.expires else {}
    return {
        "user": _user(event),
        "service": {"name": event.key or "keybroker"},
        "auth_protocol_id": _OAUTH,
        **({"session": {**_set(**token), **expires}} if event.jti or event.issuer else {}),
    }


def _user_access(event: Event, _found: Class) -> dict[str, Any]:
    return {
        "user": _user(event),
        "privileges": [event.grant or "all grants"],
        **_set(status_detail=event.detail.get("why", "")),
    }


def _account_change(event: Event, _found: Class) -> dict[str, Any]:
    return {"user": _user(event)}


def _entity(event: Event, found: Class) -> dict[str, Any]:
    detail = event.detail
    kind = found.entity or detail.get("scope") or "keybroker"
    named = event.key if kind == "provider key" else ""
    name = named or detail.get("target") or next((detail[one] for one in _NAMED_BY if detail.get(one)), "") or kind
    entity: dict[str, Any] = {"type": kind, "type_id": _OTHER_TYPE, "name": name, **_set(uid=detail.get("version", ""))}
    if kind == "policy":
        entity |= {"type_id": _POLICY_TYPE, "policy": {"name": name}}
    return {"entity": entity, **_set(comment=detail.get("why") or detail.get("reason") or "")}


_SUBJECTS = {
    _AUTHENTICATION: _authentication,
    _USER_ACCESS: _user_access,
    _ACCOUNT: _account_change,
    _ENTITY: _entity,
}


def _user(event: Event) -> dict[str, Any]:
    """Return the caller. Of an IAM class it is required, and one of its names is: `unknown` if there is no principal."""
    uid = event.principal or event.detail.get("target", "")
    return (
        {**_set(uid=uid, name=event.principal_name), "type_id": _OTHER_TYPE, "type": "workload"}
        if uid
        else {"name": "unknown"}
    )


def _unmapped(event: Event, *, claims: bool) -> dict[str, Any]:
    known = _set(grant=event.grant, key=event.key, issuer=event.issuer)
    return {
        **known,
        **({"detail": dict(event.detail)} if event.detail else {}),
        **({"claims": dict(event.claims)} if claims else {}),
    }


def _set(**texts: str) -> dict[str, Any]:
    """Return those that are not empty."""
    return {name: text for name, text in texts.items() if text}
