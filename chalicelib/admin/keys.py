"""The administrators' views of provider keys: what is known except their values, and setting a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.admin import federation, key_ages, key_request, query, rotation
from chalicelib.admin.ports import AdminPorts
from chalicelib.errors import StateUncertain, Unavailable
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.federation.notes import MintNote
from chalicelib.http.messages import Request, Response
from chalicelib.providers.errors import KeyRefused, KeyUnproved
from chalicelib.providers.keys import ProviderKey, version_of_set
from chalicelib.providers.probing import Probed
from chalicelib.providers.versions import KeyInfo, KeyVersion

_NEVER_SET: Mapping[str, Any] = dict.fromkeys(("version", "origin", "header", "author", "at", "expires"))


def list_keys(request: Request, ports: AdminPorts) -> Response:
    """Answer the policy's keys, by name, with when each was last used and is due. Listing them is audited."""
    request.administrator()
    query.read(request)
    found = ports.keys.keys(ports.event(request, "keys.read"))
    notes = ports.mint_notes.mint_notes()
    used, complete = key_ages.last_used(ports.usage, [one.name for one in found if one.current], ports.clock())
    items = [_listed(one, used.get(one.name), notes.get(one.name)) for one in found]
    return Response({"items": items, "next": None, "complete": complete})


def _listed(key: KeyInfo, used: int | None, note: MintNote | None) -> dict[str, Any]:
    about = {"name": key.name, "provider": key.provider, **(key.current.shown() if key.current else _NEVER_SET)}
    ages = {"last_used": used, "rotate_after": key.rotate_after, "due": key.due()}
    return {**about, **ages, **rotation.shown(key), **federation.shown(key, note)}


def set_key(request: Request, ports: AdminPorts, name: str) -> Response:
    """Probe a key's value, store it with its origin and header, then put it in force. No response holds the value."""
    author = request.administrator()
    params = query.read(request, "dry_run", "probe", "leaked")
    dry_run, leaked = params.flag("dry_run") or False, params.flag("leaked") or False
    info = key_request.find_static(ports.keys, name)
    version_id = version_of_set(ports.new_id())
    key = key_request.read(request.json(BODY_LIMIT), info, ports.origins, version_id)
    about = {"name": name, "provider": info.provider, "probe": _probed(key, info, ports, params.flag("probe"))}
    previous = {"previous_origin": info.current.origin if info.current else None}
    if dry_run:
        would = {**about, "origin": key.origin, "header": key.header, **previous}
        return Response({"dry_run": True, **would, "replaces": info.current.version if info.current else None})
    version = KeyVersion(key.version, key.origin, key.header, author, ports.clock(), key.prefix, info.provider)
    _put_in_force(request, ports, info, key, version.after(None if leaked else info.current))
    return Response({**about, **version.shown(), **previous})


def _probed(key: ProviderKey, info: KeyInfo, ports: AdminPorts, asked: bool | None) -> str:  # noqa: FBT001  a parameter
    """Return what the provider says of a key, `skipped` if it was not to be asked; raises KeyRefused or KeyUnproved."""
    if asked is False:
        return "skipped"
    probed, why = ports.key_probe.probe(key, info.provider)
    if probed is Probed.REFUSED:
        raise KeyRefused(why)
    if probed is Probed.UNKNOWN:
        raise KeyUnproved(why)
    return str(probed.value)


def _put_in_force(request: Request, ports: AdminPorts, info: KeyInfo, key: ProviderKey, version: KeyVersion) -> None:
    detail = {"version": version.version, "origin": version.origin, "header": version.header}
    if info.current and info.current.origin != version.origin:
        detail["previous_origin"] = info.current.origin
    event = replace(ports.event(request, "key.set", **detail), key=info.name)
    # The value first: the edge must never look up a version that is not stored yet.
    ports.key_store.put(info.name, key)
    try:
        # SECURITY: nobody's origin is kept, or undone, that was changed meanwhile (test_set_twice_at_once).
        ports.keys.set_key(info.name, version, event, info.current.version if info.current else "")
    except Unavailable as fault:
        if isinstance(fault, StateUncertain):
            text = "the value was stored and may or may not be in force: look, or send it again"
        else:
            text = "the value was stored but is not in force, and nothing has changed; send it again"
        raise fault.with_context(description=text) from fault
