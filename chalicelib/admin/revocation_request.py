"""Reads an administrator's request to revoke something."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from chalicelib.admin.query import is_unicode
from chalicelib.errors import MalformedRequest
from chalicelib.revocation import EVERYTHING, SCOPES, Revocation

TEXT_LIMIT = 1024
"""Characters of an id or a reason at most."""


def read(fields: object, revocation_id: str, author: str, now: int) -> Revocation:
    """Return the revocation that is asked for; raises MalformedRequest that names the member at fault."""
    if not isinstance(fields, Mapping):
        raise MalformedRequest("the body must be a JSON object")
    unknown = fields.keys() - {"scope", "id", "reason", "until", "unseen"}
    if unknown:
        raise MalformedRequest(f"unknown members: {', '.join(sorted(map(str, unknown)))}"[:200])
    scope, until = fields.get("scope"), fields.get("until")
    if scope not in SCOPES:
        raise MalformedRequest(f"scope must be one of {', '.join(SCOPES)}")
    target = EVERYTHING.id if scope == "everything" and "id" not in fields else _text(fields, "id")
    if scope == "everything" and target != EVERYTHING.id:
        raise MalformedRequest(f"the id of everything must be {EVERYTHING.id!r}")
    if until is not None and (type(until) is not int or not now < until < 2**53):
        raise MalformedRequest("until must be in the future, in whole epoch seconds")
    unseen = fields.get("unseen", False)
    if not isinstance(unseen, bool) or (unseen and scope not in ("principal", "token")):
        raise MalformedRequest("unseen must be true or false, and true only for a principal or a token")
    return Revocation(revocation_id, str(scope), target, _text(fields, "reason"), author, now, until)


def is_unseen(fields: object) -> bool:
    """Whether a request that `read` accepts revokes its target even if nobody ever saw it."""
    return isinstance(fields, Mapping) and fields.get("unseen") is True


def retry_id(author: str, idempotency_key: str) -> str:
    """Return the id of the revocation that this author makes with this Idempotency-Key: the same for every retry."""
    # SECURITY: the author is part of it, so that sending another author's key does not return their revocation
    # (test_key_is_per_author).
    return "retry-" + hashlib.sha256(json.dumps([author, idempotency_key]).encode()).hexdigest()[:40]


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_LIMIT:
        raise MalformedRequest(f"{name} must be text of 1 to {TEXT_LIMIT} characters")
    if not is_unicode(value):
        raise MalformedRequest(f"{name} must be Unicode text")
    return value
