"""The administrators' views of rotations: begin one or go on with it, end it, go back, and set with what it is done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.admin import key_request, query
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import Event
from chalicelib.errors import MalformedRequest
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import Request, Response
from chalicelib.providers.errors import KeyChanged, KeyUnproved
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.presets import PROVIDERS
from chalicelib.providers.rotation import (
    CREATING,
    LONGEST_OVERLAP_SECONDS,
    OVERLAP,
    OVERLAP_SECONDS,
    Management,
    Rotation,
)
from chalicelib.providers.versions import KeyInfo
from chalicelib.rotation.errors import ManagementNotSupported, ManagementRefused
from chalicelib.rotation.management import ListedKey, ManagementError
from chalicelib.rotation.managements import MANAGEMENTS
from chalicelib.rotation.rotate import Record

_STEPS = 2
"""Steps that one request takes at most: a new key in force, and after a leak the one before it deleted."""
_SETTING_LIMIT = 200
_VALUE = re.compile(r"[\x21-\x7e]{1,8192}")


def shown(info: KeyInfo) -> dict[str, Any]:
    """Return what is said of how a key is replaced. Nothing of it opens anything."""
    before = info.current.before if info.current else None
    management = info.management
    rotation = info.rotation
    return {
        "rotates": "by_minting" if info.federated is not None else "by_api" if management else "by_hand",
        "before": before and {"version": before.version, "at": before.at},
        "management": management
        and {
            "origin": management.origin,
            "settings": dict(management.settings),
            "author": management.author,
            "at": management.at,
        },
        "rotation": rotation
        and {
            **{name: getattr(rotation, name) for name in ("id", "author", "started", "overlap", "leaked", "step")},
            "ends": rotation.ends or None,
            "problem": rotation.problem or None,
            "deletes": rotation.retiring or None,
        },
    }


def rotate(request: Request, ports: AdminPorts, name: str) -> Response:
    """Begin to replace a key at its provider, or go on with it; answer how far it has come."""
    author = request.administrator()
    dry_run, info = _asked(request, ports, name)
    overlap, leaked = _wanted(request.json(BODY_LIMIT) if request.body else {})
    wanted = Rotation(ports.new_id(), author, ports.clock(), overlap, leaked)
    if dry_run:
        known = len(_listed(ports, info))
        return Response({"dry_run": True, "name": name, "overlap": overlap, "leaked": leaked, "known": known})
    record = _recording(request, ports, info)
    if leaked and info.rotation and not info.rotation.leaked:
        # Either key may be the one that leaked: the one before goes now, and the new one as soon as there is another.
        was_creating = info.rotation.step == CREATING
        info = _advanced(ports, ports.rotator().hasten(info), record)
        if was_creating or info.rotation:
            return _answer(info)
    return _answer(_advanced(ports, info if info.rotation else ports.rotator().begin(info, wanted, record), record))


def _asked(request: Request, ports: AdminPorts, name: str) -> tuple[bool, KeyInfo]:
    """Return whether a request is a dry run, and its key as it is; raises KeyChanged if it was meant for another version."""
    params = query.read(request, "dry_run", "version")
    info = key_request.find_static(ports.keys, name)
    # SECURITY: a rollback sent twice undoes itself; what changes this key is written only if it is still as it was read
    # here (test_a_rollback_is_of_the_version_that_was_looked_at).
    if (meant := params.text("version")) and (info.current is None or info.current.version != meant):
        raise KeyChanged
    return params.flag("dry_run") or False, info


def _advanced(ports: AdminPorts, info: KeyInfo, record: Record) -> KeyInfo:
    for _ in range(_STEPS):
        info = ports.rotator().advance(info, record)
        rotation = info.rotation
        if rotation is None or rotation.problem or (rotation.step == OVERLAP and ports.clock() < rotation.ends):
            break
    return info


def _answer(info: KeyInfo) -> Response:
    return Response({"name": info.name, "version": info.current.version if info.current else None, **shown(info)})


def abort(request: Request, ports: AdminPorts, name: str) -> Response:
    """End a rotation whose new key is not in force yet, and delete what it has made at the provider."""
    request.administrator()
    dry_run = query.dry_run(request)
    info = key_request.find_static(ports.keys, name)
    if dry_run:
        ports.rotator().check_abort(info)
        return Response({"dry_run": True, "name": name, **shown(info)})
    try:
        ended = ports.rotator().abort(info, _recording(request, ports, info))
    except ManagementError as fault:
        raise KeyUnproved(fault.reason) from None
    return Response({"name": name, **shown(ended)})


def roll_back(request: Request, ports: AdminPorts, name: str) -> Response:
    """Put the version before in force again, from the next call on."""
    request.administrator()
    dry_run, info = _asked(request, ports, name)
    if dry_run:
        return Response({"dry_run": True, "name": name, "version": ports.rotator().before(info).version})
    return _answer(ports.rotator().roll_back(info, _recording(request, ports, info)))


def list_provider_keys(request: Request, ports: AdminPorts, name: str) -> Response:
    """Answer the keys at the provider that have our name, and what each is: orphans are those that nobody uses."""
    request.administrator()
    query.read(request)
    info = key_request.find_static(ports.keys, name)
    items = [_about(one, info) for one in _listed(ports, info)]
    return Response({"items": items, "next": None})


def set_management(request: Request, ports: AdminPorts, name: str) -> Response:
    """Prove a management key by having it list the account's keys, then store it. No response holds its value."""
    author = request.administrator()
    dry_run = query.dry_run(request)
    info = key_request.find_static(ports.keys, name)
    value, settings = _management(request.json(BODY_LIMIT), info.provider)
    origin = ports.origins.choose(None, PROVIDERS[info.provider])
    try:
        ports.accounts.of(info.provider, origin, value, settings).named(ports.rotator().name(info))
    except ManagementError as fault:
        if fault.reason in ("status_400", "status_401", "status_403", "status_404"):
            raise ManagementRefused(fault.reason) from None
        raise KeyUnproved(fault.reason) from None
    made = Management(ports.new_id(), origin, settings, author, ports.clock())
    changed = replace(info, management=made)
    if not dry_run:
        ports.management_store.put(name, ProviderKey(made.version, origin, "authorization", "Bearer ", value))
        record = _recording(request, ports, info)
        ports.keys.change_key(info, changed, record("key.management_set", {"version": made.version, "origin": origin}))
    return Response({**({"dry_run": True} if dry_run else {}), "name": name, **shown(changed)})


def _listed(ports: AdminPorts, info: KeyInfo) -> tuple[ListedKey, ...]:
    try:
        return ports.accounts(info).named(ports.rotator().name(info))
    except ManagementError as fault:
        raise KeyUnproved(fault.reason) from None


def _about(one: ListedKey, info: KeyInfo) -> dict[str, Any]:
    current, rotation = info.current, info.rotation
    before = current.before if current else None
    uses = {
        before.provider_key_id if before else "": "before",
        rotation.retiring if rotation else "": "retiring",
        current.provider_key_id if current else "": "in_force",
    }
    making = rotation is not None and f"/{rotation.id}/" in one.name
    use = uses.get(one.id) or ("being_made" if making else "orphan")
    return {"id": one.id, "name": one.name, "created": one.created or None, "use": use}


def _recording(request: Request, ports: AdminPorts, info: KeyInfo) -> Record:
    def record(kind: str, detail: dict[str, str]) -> Event:
        return replace(ports.event(request, kind, **detail), key=info.name)

    return record


def _wanted(fields: object) -> tuple[int, bool]:
    if not isinstance(fields, Mapping) or fields.keys() - {"overlap", "leaked"}:
        raise MalformedRequest("the body must be a JSON object; its members are overlap, leaked")
    leaked, overlap = fields.get("leaked", False), fields.get("overlap")
    if not isinstance(leaked, bool):
        raise MalformedRequest("leaked must be true or false")
    if overlap is None:
        return (0 if leaked else OVERLAP_SECONDS), leaked
    whole = isinstance(overlap, int) and not isinstance(overlap, bool)
    if not whole or not 0 <= overlap <= LONGEST_OVERLAP_SECONDS or (leaked and overlap):
        raise MalformedRequest(f"overlap must be 0 to {LONGEST_OVERLAP_SECONDS} seconds, and 0 after a leak")
    return overlap, leaked


def _management(fields: object, provider: str) -> tuple[str, dict[str, str]]:
    kind = MANAGEMENTS.get(provider)
    if kind is None:
        raise ManagementNotSupported
    if not isinstance(fields, Mapping) or fields.keys() - {"value", "settings"}:
        raise MalformedRequest("the body must be a JSON object; its members are value, settings")
    value, settings = fields.get("value"), fields.get("settings", {})
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise MalformedRequest("value must be 1 to 8192 printable ASCII characters without spaces")
    known = (*kind.REQUIRED, *kind.OPTIONAL)
    if not isinstance(settings, Mapping) or settings.keys() - set(known) or set(kind.REQUIRED) - settings.keys():
        optional = f"; {', '.join(kind.OPTIONAL)} may be left out"
        raise MalformedRequest(f"settings: {', '.join(kind.REQUIRED) or 'none is needed'}{optional}")
    texts = {str(name): one for name, one in settings.items()}
    if not all(isinstance(one, str) and len(one) <= _SETTING_LIMIT for one in texts.values()):
        raise MalformedRequest(f"each setting must be text of at most {_SETTING_LIMIT} characters")
    try:
        kind.check(texts)
    except ValueError as fault:
        raise MalformedRequest(str(fault)) from None
    return value, texts
