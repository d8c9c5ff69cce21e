"""Which models a call runs, read from its path and body, for grants that limit them.

The provider's parser is not known: a body that parsers could read differently is refused, and if parsers could choose
between several models, all of them must be allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote_plus

from chalicelib import patterns
from chalicelib.models import endpoints as model_endpoints
from chalicelib.models import json_body
from chalicelib.models import members as model_members
from chalicelib.models import multipart as form_body
from chalicelib.models.body import BEGINNING, LEFT_OUT, CallBody
from chalicelib.models.endpoints import Endpoint
from chalicelib.models.errors import (
    BodyEncoded,
    BodyMediaType,
    BodyTooMany,
    ModelEndpointClosed,
    ModelMissing,
    ModelNotAllowed,
    ModelsUnknown,
    ModelUnclear,
)
from chalicelib.models.multipart import Field
from chalicelib.providers.entry import FORM, JSON
from chalicelib.providers.presets import PROVIDERS

_JSON_TYPE = re.compile(r'application/json(?:[ \t]*;[ \t]*charset="?utf-8"?)?', re.ASCII | re.IGNORECASE)
_TYPES = {JSON: "application/json in UTF-8", FORM: "multipart/form-data with a plain boundary"}
_NAME = re.compile(r"[A-Za-z0-9._:/@+~-]{1,256}")


def models(provider: str, scope: str, query: str, body: CallBody) -> tuple[str, ...]:
    """Return every model that a call names: at least one, unless it asks for the list of models; raises Refusal.

    scope: the call's `METHOD:/path`, in one canonical reading of the provider's own form (providers/paths.py).
    """
    found = model_endpoints.find(provider, scope)
    if found is None:
        raise ModelEndpointClosed(scope) if PROVIDERS[provider].models else ModelsUnknown
    endpoint, in_path = found
    for name in (*body.header_names, *_parameters(query)):
        model_members.check_name(name)
    in_body = _in_body(endpoint, body, is_needed=in_path is None) if endpoint.bodies else ()
    return (
        *(() if in_path is None else (in_path.replace("%2F", "/"),)),
        *(one.removeprefix(endpoint.prefix) for one in in_body),
    )


def check(found: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Raise ModelNotAllowed unless every model is allowed, ModelUnclear if the name of one has unusual characters."""
    for model in found:
        # SECURITY: white space, commas, escapes and dot segments mean something to some providers
        # (test_model_vectors).
        if not _NAME.fullmatch(model) or {".", ".."} & set(re.split("[/:]", model)):
            raise ModelUnclear("the grant limits models, and a model's name has letters, digits and ._:/@+~- only")
        if not any(patterns.model_matches(pattern, model) for pattern in allowed):
            raise ModelNotAllowed(model)


def _in_body(endpoint: Endpoint, body: CallBody, *, is_needed: bool) -> tuple[str, ...]:
    form = boundary(endpoint, body)
    content = body.for_models()
    if form:
        fields = form_body.read(content, form)
        if body.is_outline:
            _check_fields(fields)
        has_one, named = any(one.name == "model" for one in fields), _in_form(fields, endpoint.refused)
    else:
        found = json_body.read(content)
        if body.is_outline:
            _check_texts(found, endpoint.refused)
        has_one, named = isinstance(found.get("model"), str), model_members.named(found, endpoint.refused)
    if is_needed and not has_one:
        raise ModelMissing
    return named


def _check_fields(fields: Iterable[Field]) -> None:
    """Raise BodyTooMany if anything but a file was left out of an outline."""
    # SECURITY: what a field says may have another model run (test_what_matters_is_not_left_out).
    if any(not one.is_file and LEFT_OUT.encode() in one.value for one in fields):
        raise BodyTooMany(f"bytes in a field ({BEGINNING} at most)")


def _check_texts(found: Mapping[str, object], refused: frozenset[str]) -> None:
    """Raise BodyTooMany if a text was left out that could be one of `refused`, as `member=value`."""
    named = {one.partition("=")[0] for one in refused if "=" in one}
    for name, value in found.items():
        # SECURITY: see _check_fields.
        if value == LEFT_OUT and model_members.is_named(name, named):
            raise BodyTooMany(f"bytes in `{name}`")


def boundary(endpoint: Endpoint, body: CallBody) -> str:
    """Return a form's boundary, "" for JSON; raises BodyEncoded or BodyMediaType (415) if it is neither, or may be read as either."""
    if body.content_encodings:
        raise BodyEncoded
    (media_type,) = body.content_types if len(body.content_types) == 1 else ("",)
    found = form_body.boundary_of(media_type) if FORM in endpoint.bodies else None
    if found or (JSON in endpoint.bodies and _JSON_TYPE.fullmatch(media_type)):
        return found or ""
    types = " or ".join(_TYPES[kind] for kind in endpoint.bodies)
    raise BodyMediaType(f"the grant limits models, so the body has to be {types}")


def _in_form(fields: Iterable[Field], refused: frozenset[str]) -> tuple[str, ...]:
    found: list[str] = []
    for field in fields:
        value = "" if field.is_file else field.value.decode("latin-1")
        if field.name != "model":
            model_members.check_member(field.name, value, refused)
        elif found or field.is_file or not field.is_text:
            raise ModelUnclear("the grant limits models, so `model` has to be sent once, as a plain field")
        else:
            found.append(value)
    return tuple(found)


def _parameters(query: str) -> Iterator[str]:
    return (unquote_plus(one.partition("=")[0]) for one in re.split("[&;]", query))
