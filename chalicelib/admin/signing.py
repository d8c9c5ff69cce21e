"""The administrators' views of our own signing keys: list them, and prepare, activate, taint or retire one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.admin import query, revocation_request
from chalicelib.admin.ports import AdminPorts
from chalicelib.errors import MalformedRequest
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import Request, Response
from chalicelib.tokens.errors import NoSuchSigningKey
from chalicelib.tokens.key_list import SigningKeyList

EVENTS: Final = {
    "prepare": "signing.prepared",
    "activate": "signing.activated",
    "taint": "signing.tainted",
    "retire": "signing.retired",
}
"""By action, the kind of its audit event."""
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""An RFC 7638 thumbprint by SHA-256."""
_MEMBERS: Final = {"action", "kid", "reason"}


def list_signing_keys(request: Request, ports: AdminPorts) -> Response:
    """Answer the signing keys, the oldest first, those that are published only last."""
    request.administrator()
    query.read(request)
    listed = ports.signing_key_lists.signing_key_list()
    known = (*listed.live, *listed.tainted)
    published = (kid for kid in ports.signing_key_store.published() if kid not in known)
    items = [_shown(kid, listed) for kid in (*known, *published)]
    return Response({"items": items, "next": None})


def change_signing_keys(request: Request, ports: AdminPorts) -> Response:
    """Do one step with one key; the response means that it is in force."""
    request.administrator()
    dry_run = query.dry_run(request)
    action, kid, reason = _read(request.json(BODY_LIMIT))
    # SECURITY: from the look at the list until keys are deleted nobody else makes one: a key that is made and not listed yet
    # would be taken for one that is left over (test_a_key_is_not_deleted_under_its_preparation).
    with ports.signing_key_store.alone():
        return _step(request, ports, action, kid, reason, dry_run=dry_run)


def _step(  # noqa: PLR0913  what was asked for
    request: Request, ports: AdminPorts, action: str, kid: str, reason: str, *, dry_run: bool
) -> Response:
    listed = ports.signing_key_lists.signing_key_list()
    if not dry_run:
        # SECURITY: what a step that was cut off has left over (test_a_step_that_was_cut_off_leaves_no_private_key).
        ports.signing_key_store.keep_only((*listed.live, *((kid,) if action == "prepare" else ())))
    if action == "prepare":
        kid = _to_prepare(kid, listed, ports, dry_run=dry_run)
    if action == "activate" and kid not in ports.signing_key_store.published():
        raise NoSuchSigningKey  # the list names a key that is not there: with it, no token could be issued
    now = ports.clock()
    changed: SigningKeyList = getattr(listed, action)(kid, now)
    if dry_run:
        return Response({"dry_run": True, **_shown(kid, changed), "changed": changed != listed})
    if changed != listed:
        detail = {"kid": kid, **({"reason": reason} if reason else {})}
        ports.signing_key_lists.change_signing_keys(listed, changed, ports.event(request, EVENTS[action], **detail))
    if action in ("taint", "retire"):
        ports.signing_key_store.keep_only(changed.live)
    return Response({**_shown(kid, changed), "changed": changed != listed})


def _to_prepare(kid: str, listed: SigningKeyList, ports: AdminPorts, *, dry_run: bool) -> str:
    """Return the key to prepare: the one that is named, else a spare one, which is not made for a dry run."""
    if kid:
        if kid not in (*ports.signing_key_store.published(), *listed.tainted):
            raise MalformedRequest("kid must be that of a published signing key; without one, a spare key is prepared")
        return kid
    return "" if dry_run else ports.signing_key_store.spare(frozenset((*listed.live, *listed.tainted)))


def _read(fields: object) -> tuple[str, str, str]:
    """Return action, kid and reason; raises MalformedRequest."""
    if not isinstance(fields, Mapping) or fields.keys() - _MEMBERS:
        raise MalformedRequest(f"the body must be a JSON object; its members are {', '.join(sorted(_MEMBERS))}")
    action, kid, reason = (fields.get(name, "") for name in ("action", "kid", "reason"))
    if not isinstance(action, str) or action not in EVENTS:
        raise MalformedRequest(f"action must be one of {', '.join(EVENTS)}")
    is_named = isinstance(kid, str) and bool(_KID.fullmatch(kid))
    if not is_named and not (action == "prepare" and kid == ""):
        raise MalformedRequest("kid must be a signing key's kid, 43 characters")
    if not isinstance(reason, str) or len(reason) > revocation_request.TEXT_LIMIT:
        raise MalformedRequest(f"reason must be text of at most {revocation_request.TEXT_LIMIT} characters")
    if action == "taint" and not reason.strip():
        raise MalformedRequest("reason must say why the key is tainted")
    return str(action), str(kid), reason


def _shown(kid: str, listed: SigningKeyList) -> dict[str, Any]:
    times = {"prepared": listed.prepared, "stopped": listed.stopped, "tainted": listed.tainted}
    return {"kid": kid, "status": listed.status(kid), **{name: of_key.get(kid) for name, of_key in times.items()}}
