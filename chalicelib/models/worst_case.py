"""What one call may take at most, read from it before it is sent, for grants that limit what models take.

Under such a grant everything that a call takes has to be in it: what is stored at the provider, is fetched by it or is run
there has no bound that the edge could see, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from chalicelib.errors import Refusal
from chalicelib.models import dearer, endpoints, json_body, selection
from chalicelib.models import members as model_members
from chalicelib.models.body import CallBody
from chalicelib.models.errors import UsageEndpointClosed, UsageUnbounded, UsageUnclear, UsageUnknown
from chalicelib.models.output_limits import default_output, limit_members
from chalicelib.providers.answer_usage import FORMS
from chalicelib.providers.presets import PROVIDERS

IMAGE_TOKENS = 5_000
"""Counted for an image, whatever its bytes: more than any current model takes but those of SMALL_MODELS."""
SMALL_IMAGE_TOKENS = 50_000
"""The same for a model that takes many tokens for an image, at a low price for each."""
_SMALL_MODELS = re.compile(r"(.*/)?gpt-4o-mini")
OVERHEAD_TOKENS = 1_000
"""What providers put before a prompt of their own, such as how tools are to be called."""
COUNT_LIMIT = 1_000_000_000

_FREE = frozenset({"count_tokens", "input_tokens"})
_FREE_OF = frozenset({("openai", "moderations")})
_STORED = frozenset(
    {"background", "mcpservers", "websearchoptions", "searchparameters", "container", "connectors", "compaction"}
)
"""Members at the top that let a provider take what the call does not show, besides those of members.py."""
_TOOL = re.compile(r"function|custom|local_shell|apply_patch|computer.*|(bash|text_editor|memory)_\d+")
"""Tools that the caller runs."""
_DECLARED = frozenset({"functiondeclarations"})
_NAMED = frozenset(
    {
        "name",
        "description",
        "parameters",
        "parameterdefinitions",
        "inputschema",
        "inputexamples",
        "cachecontrol",
        "strict",
    }
    | {"deferloading", "allowedcallers", "eagerinputstreaming"}
)
"""Members of a tool of the caller's that has a name and no type, at Anthropic and Cohere."""
_IMAGES = frozenset({"image_url", "input_image", "image", "computer_screenshot"})
_FILES = frozenset(
    {"document", "file", "input_file", "container_upload", "video", "video_url", "input_video", "item_reference"}
    | {"document_url", "audio_url", "input_audio", "file_url", "tool_file", "resource_link"}
)
_FETCHED = frozenset({"documenturl", "audiourl", "fileurl", "videourl", "inputaudio"})
_EDITS = frozenset({"edits[]", "edits", "contextmanagement[]", "contextmanagement"})
_FREE_FORM = frozenset(
    {"parameters", "arguments", "args", "response", "metadata", "labels", "input_examples", "input_schema", "documents"}
)
_SEARCHES = re.compile(r"(.*[-/._:])?(search|research|sonar|online|compound|fusion)([-._:].*)?|.*@preset/.*", re.DOTALL)
"""Models that look things up by themselves, or are made of stored settings: what they read is in no call."""
_DATA = re.compile("data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=_-]*$", re.ASCII)
_BASE64 = re.compile("[A-Za-z0-9+/=_-]*", re.ASCII)


class WorstCase(NamedTuple):
    """What a call takes at most, in tokens. model: as it names it, "" if it does not."""

    model: str
    input: int
    output: int
    dearer: str = ""
    """A part of it for which another price than the model's usual one may be asked; "" if there is none."""


def find(provider: str, scope: str, body: CallBody) -> WorstCase | None:
    """Return what a call takes at most, None if it runs no model; raises Refusal if that cannot be told, or is closed.

    scope: the call's `METHOD:/path`, in one canonical reading of the provider's own form.
    """
    found = endpoints.find(provider, scope)
    if provider not in FORMS or not PROVIDERS[provider].models:
        raise UsageUnknown
    if found is None:
        raise UsageEndpointClosed(scope)
    endpoint, in_path = found
    name = re.split("[/:]", endpoint.scope)[-1]
    if not endpoint.bodies or name.lower() in _FREE or name == "countTokens" or (provider, name) in _FREE_OF:
        return None
    members = limit_members(provider, endpoint.scope)
    if members is None:
        raise UsageEndpointClosed(scope)
    try:
        boundary = selection.boundary(endpoint, body)
        content = body.content()
        whole = json_body.read(content)
    except Refusal as refusal:
        text = refusal.description.replace("the grant limits models", "the grant limits what models take")
        raise refusal.with_context(description=text) from None
    if boundary:
        raise UsageEndpointClosed(scope)
    named = whole.get("model")
    model = in_path.replace("%2F", "/") if in_path else named if isinstance(named, str) else ""
    # SECURITY: `max_tokens` limits what a model puts out, and not what it looks up (test_a_model_that_searches_by_itself_is_refused).
    if _SEARCHES.fullmatch(model.lower()):
        raise UsageUnbounded(model)
    seen = _Seen.of(whole, model)
    tokens = len(content) - seen.image_bytes + seen.image_tokens + OVERHEAD_TOKENS
    output = _output(whole, members, model, len(content)) if members else 0
    return WorstCase(model, tokens, output, dearer.part(whole))


class _Seen(NamedTuple):
    """The images of a body: their bytes there, and what they are counted for."""

    image_bytes: int
    image_tokens: int

    @classmethod
    def of(cls, body: Mapping[str, object], model: str) -> _Seen:
        """Look at every object of a body; raises UsageUnbounded."""
        for name, value in body.items():
            if value is None or value is False:
                continue
            # SECURITY: what is stored at the provider counts as input, and nobody sees how much that is
            # (test_what_is_not_in_the_call_is_refused).
            if _plain(name) in _STORED or model_members.is_named(name, model_members.STORED):
                raise UsageUnbounded(name)
            if _plain(name) == "prompt" and isinstance(value, dict):
                raise UsageUnbounded(name)
            # SECURITY: the model that counts is the one that runs (test_no_other_model_runs).
            if name != "model" and model_members.is_odd(name):
                raise UsageUnbounded(name)
        images = [one for name, one in _objects(body) if _is_image(name, one)]
        each = SMALL_IMAGE_TOKENS if _SMALL_MODELS.match(model) else IMAGE_TOKENS
        return cls(_data_bytes(images), each * len(images))


def _objects(body: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each object of a body with the name that it stands under, without free-form members; raises UsageUnbounded."""
    left: list[tuple[str, object]] = [("", body)]
    while left:
        name, value = left.pop()
        if isinstance(value, list):
            left += [(f"{name}[]", one) for one in value if isinstance(one, dict | list)]
        elif isinstance(value, dict):
            _check(name, value)
            yield name, value
            is_use = str(value.get("type")).endswith("tool_use")
            left += [
                (member, held)
                for member, held in value.items()
                if isinstance(held, dict | list) and not _is_free(member) and not (is_use and member == "input")
            ]


def _is_free(member: str) -> bool:
    return member in _FREE_FORM or member.lower().endswith("schema")


def _check(name: str, value: Mapping[str, object]) -> None:
    """Raise UsageUnbounded for a tool that the provider runs, and for what it fetches or has stored."""
    kind = value.get("type")
    # SECURITY: Google's parsers take an object for a list of one, and Go's another spelling
    # (test_what_is_not_in_the_call_is_refused).
    if _plain(name.rstrip("[]")).endswith("tools") and not _is_of_the_caller(kind, value):
        raise UsageUnbounded(f"tools: {kind}" if isinstance(kind, str) else "tools")
    is_text = kind == "document" and _type_of(value.get("source")) == "text"
    if isinstance(kind, str) and kind in _FILES and not is_text:
        raise UsageUnbounded(kind)
    # What a provider has a model sum up on the way is billed, and its answers' totals leave that out.
    if _plain(name) in _EDITS and isinstance(kind, str) and kind.startswith("compact"):
        raise UsageUnbounded(kind)
    if name == "input[]" and kind is None and "role" not in value and "id" in value:
        raise UsageUnbounded("item_reference")
    for member, held in value.items():
        plain = _plain(member)
        # SECURITY: an hour of silence is a few kilobytes, and as many tokens as any other; an answer's sound is kept under an id
        # (test_what_is_not_in_the_call_is_refused).
        is_kept_sound = plain == "audio" and isinstance(held, dict) and "id" in held
        if held is not None and (plain in _FETCHED or is_kept_sound):
            raise UsageUnbounded(member)
        if plain == "filedata" and isinstance(held, dict):
            raise UsageUnbounded(member)
        if plain == "inlinedata" and not _mime_type(held).startswith("image/"):
            raise UsageUnbounded(member)


def _is_of_the_caller(kind: object, tool: Mapping[str, object]) -> bool:
    if isinstance(kind, str):
        return _TOOL.fullmatch(kind) is not None
    names = {_plain(name) for name in tool}
    return kind is None and (names == _DECLARED or ("name" in tool and names <= _NAMED))


def _is_image(name: str, value: Mapping[str, object]) -> bool:
    if _plain(name) == "inlinedata":
        return _mime_type(value).startswith("image/")
    kind = value.get("type")
    # Mistral's parts may leave out their type.
    return "image_url" in value if kind is None else isinstance(kind, str) and kind in _IMAGES


def _mime_type(value: object) -> str:
    found = (value.get("mimeType"), value.get("mime_type")) if isinstance(value, dict) else ()
    return next((one.lower() for one in found if isinstance(one, str)), "")


def _type_of(value: object) -> object:
    return value.get("type") if isinstance(value, dict) else None


def _data_bytes(images: Iterable[Mapping[str, object]]) -> int:
    """Return the bytes of the images' data, which no model reads as text."""
    # SECURITY: an image may stand in another, and what is left out twice would make up for a text, or be paid out
    # (test_an_image_within_an_image_counts_once).
    places = {id(place): place for image in images for place in (image, *image.values()) if isinstance(place, dict)}
    texts = [(name, value) for place in places.values() for name, value in place.items() if isinstance(value, str)]
    # SECURITY: a text in an image's part is a text all the same (test_a_text_within_an_image_counts).
    return sum(len(text) for name, text in texts if _DATA.match(text) or (name == "data" and _BASE64.fullmatch(text)))


def _output(body: Mapping[str, object], members: frozenset[str], model: str, size: int) -> int:
    """Return how many tokens of output a body asks for at most."""
    within = [
        body,
        *(one for name, one in body.items() if _plain(name) == "generationconfig" and isinstance(one, dict)),
    ]
    given = [(name, value) for one in within for name, value in one.items() if value is not None]
    plain = {_plain(one) for one in members}
    limits = [_number(name, value) for name, value in given if _plain(name) in plain]
    # SECURITY: a member that only some parsers take for the limit does not lower it (test_another_spelling_lowers_nothing).
    # 0 may mean "not set" to a parser (test_a_limit_of_nothing_is_none).
    is_limited = any(name in members for name, _ in given) and max(limits) > 0
    most = max(limits) if is_limited else max([default_output(model), *limits])
    times = [_number(name, value) for name, value in given if _plain(name) in ("n", "bestof", "candidatecount")]
    prompts = body.get("prompt")
    many = len(prompts) if isinstance(prompts, list) and any(isinstance(one, str | list) for one in prompts) else 1
    # What a predicted output gets wrong is billed as output.
    return most * max([1, *times]) * max(1, many) + (size if body.get("prediction") is not None else 0)


def _number(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_LIMIT:
        raise UsageUnclear(name)
    return value


def _plain(name: str) -> str:
    return re.sub("[^!-,.-^`-~]", "", name.casefold())  # neither `_` nor `-`, which APIs write either way
