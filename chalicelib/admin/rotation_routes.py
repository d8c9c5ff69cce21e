"""The administrators' routes that replace provider keys."""

from __future__ import annotations

from chalicelib.admin import rotation
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.route_parameters import DRY_RUN, exact
from chalicelib.http.route import Parameter, Route

_NAME = Parameter("name", "the name of a key of the policy", location="path", required=True)
_VERSION = exact("version", "the version that was in force when you looked. 409: another one is by now")

ROUTES: tuple[Route[AdminPorts], ...] = (
    Route(
        "POST",
        "/admin/keys/{name}/rotation",
        "Begin to replace a key at its provider, or go on with it: send it again until its step is `overlap`, or it is null",
        {200: "RotationAnswer"},
        rotation.rotate,
        (_NAME, DRY_RUN, _VERSION),
        body="RotationRequest",
        refusals=(404, 409, 422),
    ),
    Route(
        "DELETE",
        "/admin/keys/{name}/rotation",
        "End a rotation whose new key is not in force yet, and delete what it has made at the provider",
        {200: "AbortAnswer"},
        rotation.abort,
        (_NAME, DRY_RUN),
        refusals=(404, 409),
    ),
    Route(
        "POST",
        "/admin/keys/{name}/rollback",
        "Put the version before in force again, from the next call on",
        {200: "RollbackAnswer"},
        rotation.roll_back,
        (_NAME, DRY_RUN, _VERSION),
        refusals=(404, 409),
    ),
    Route(
        "GET",
        "/admin/keys/{name}/provider-keys",
        "The keys at the provider that were made for this one; `orphan` is what nobody uses",
        {200: "ProviderKeyList"},
        rotation.list_provider_keys,
        (_NAME,),
        refusals=(404, 409, 422),
    ),
    Route(
        "PUT",
        "/admin/keys/{name}/management",
        "Set the management key with which the provider replaces this key. It cannot be read back, nor used by a call",
        {200: "ManagementAnswer"},
        rotation.set_management,
        (_NAME, DRY_RUN),
        body="ManagementRequest",
        refusals=(404, 409, 422),
    ),
)
