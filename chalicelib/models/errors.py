"""The refusals of calls under a grant that limits models: a body that cannot be read for certain, or another model."""

from __future__ import annotations

from chalicelib.errors import Refusal


class BodyNotShown(
    Refusal,
    reason="body_not_shown",
    error="temporarily_unavailable",
    status=503,
    text="the grant limits models, and this edge was not shown the body (Include Body is off)",
):
    """The edge was not shown the body, so the model is unknown. The operator has to set CloudFront's Include Body."""


class BodyCut(
    Refusal,
    reason="body_cut",
    error="invalid_request",
    status=413,
    text="the grant limits models, so the body is read, of which the edge sees 1 MiB at most; send less",
):
    """The body is over 1 MiB, and the edge sees no more of it. Send less."""


class BodyTooMany(Refusal, reason="body_too_many", error="invalid_request", status=413):
    """The body has more objects, lists, members or parts than the edge reads. Send it in several calls."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the grant limits models, so the body is read, and it has too many {what}; send fewer")


class BodyTwice(
    Refusal,
    reason="body_twice",
    error="invalid_request",
    status=400,
    text="the grant limits models, and a member of the body comes twice",
):
    """A member of the JSON body occurs twice. Send each once."""


class BodyNotJson(Refusal, reason="body_no_json", error="invalid_request", status=400):
    """The body is not JSON. Send JSON."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the grant limits models, and the body cannot be read as JSON: {why}")


class BodyNotForm(Refusal, reason="body_no_form", error="invalid_request", status=400):
    """The body is a malformed multipart form. Send one that has one reading."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the grant limits models, and the body cannot be read as a form: {why}")


class BodyEncoded(
    Refusal,
    reason="body_encoded",
    error="invalid_request",
    status=415,
    text="the grant limits models, so the body cannot be compressed",
):
    """The body is compressed. Send it as it is."""


class BodyMediaType(Refusal, reason="body_media_type", error="invalid_request", status=415):
    """The body's Content-Type is missing, there twice, or not one that this endpoint takes. Send one that it takes."""


class ModelMissing(
    Refusal,
    reason="model_missing",
    error="invalid_request",
    status=400,
    text="the grant limits models, so `model` has to be sent",
):
    """The call names no model. Send `model`."""


class ModelNotText(
    Refusal,
    reason="model_no_text",
    error="invalid_request",
    status=400,
    text="the grant limits models, and a `model` is not a string",
):
    """A `model` is not a string. Send one."""


class ModelUnclear(Refusal, reason="model_unclear", error="invalid_request", status=400):
    """The model has no plain name, or is named in more than one way. Name it once, plainly."""


class ModelNotAllowed(Refusal, reason="model_not_allowed", error="model_not_allowed", status=403):
    """The grant does not allow this model. Use one that it allows."""

    def __init__(self, model: str) -> None:
        super().__init__(f"the grant does not allow the model {model!r}")


class ModelElsewhere(Refusal, reason="model_elsewhere", error="insufficient_scope", status=403):
    """A part of the call besides `model` can make the provider run another model. Leave it out."""

    def __init__(self, name: str) -> None:
        shown = name[:64] if name.isascii() and name.isprintable() else "a member with an odd name"
        super().__init__(
            f"the grant limits models, so `{shown}` cannot be sent: it can make the provider run another model than `model` names"
        )


class ModelsUnknown(
    Refusal,
    reason="models_unknown",
    error="insufficient_scope",
    status=403,
    text="the grant limits models, which cannot be checked for this kind of key, so it opens nothing",
):
    """The grant limits models for a provider whose models cannot be checked. The policy has to change."""


class ModelEndpointClosed(Refusal, reason="model_endpoint_closed", error="insufficient_scope", status=403):
    """Which model runs at this endpoint is not said by `model` alone. Use another endpoint, or a grant without a limit."""

    def __init__(self, scope: str) -> None:
        text = f"the grant limits models, so it does not open {scope}: `model` alone does not say which one runs there"
        super().__init__(text[:300])


class UsageUnknown(
    Refusal,
    reason="usage_unknown",
    error="insufficient_scope",
    status=403,
    text="the grant limits what models take, and it is not known what this provider's answers take",
):
    """The grant limits what models take, and answers of the key's provider do not say it. Use a grant without such a limit."""


class UsageEndpointClosed(Refusal, reason="usage_endpoint_closed", error="insufficient_scope", status=403):
    """The grant limits what models take, and of this endpoint that cannot be known beforehand. Use one where it can."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the grant limits what models take, which is not known of {scope}"[:200])


class UsageUnbounded(Refusal, reason="usage_unbounded", error="insufficient_scope", status=403):
    """A part of the call lets the provider take more than the call shows, such as a stored text or a tool of its own. Leave it out."""

    def __init__(self, name: str) -> None:
        shown = name[:64] if name.isascii() and name.isprintable() else "a member with an odd name"
        super().__init__(f"the grant limits what models take, and {shown!r} may take more than the call shows")


class UsageUnclear(Refusal, reason="usage_unclear", error="invalid_request", status=400):
    """A member that limits the output is no whole number. Send one."""

    def __init__(self, name: str) -> None:
        shown = name[:64] if name.isascii() and name.isprintable() else "a member with an odd name"
        super().__init__(f"the grant limits what models take, so {shown!r} has to be a whole number")
