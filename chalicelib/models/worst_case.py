"""What one call may take at most, read from it before it is sent, for grants that limit what models take.

Under such a grant everything that a call takes has to be in it: what is stored at the provider, is fetched by it or is run
there has no bound that the edge could see, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from chalicelib.errors import Refusal
from chalicelib.models import dearer, endpoints, images, json_body, selection
from chalicelib.models import members as model_members
from chalicelib.models.body import CallBody
from chalicelib.models.errors import UsageEndpointClosed, UsageUnbounded, UsageUnclear, UsageUnknown
from chalicelib.models.output_limits import default_output, limit_members
from chalicelib.models.spelling import plain, type_of
from chalicelib.providers.answer_usage import FORMS
from chalicelib.providers.presets import PROVIDERS

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
_FILES = frozenset(
    {"document", "file", "input_file", "container_upload", "video", "video_url", "input_video", "item_reference"}
    | {"document_url", "audio_url", "input_audio", "file_url", "tool_file", "resource_link"}
)
_CALLED = ("function", "custom_tool", "computer", "local_shell", "shell", "apply_patch")
_ITEMS = (
    {"message", "text", "input_text", "reasoning", "compaction", *images.KINDS}
    | {f"{one}_call" for one in _CALLED}
    | {f"{one}_call_output" for one in _CALLED}
)
"""The items of a response's input that may carry all that they are."""
_CONTENTS = ("content", "encrypted_content")
_MAY_BE_EMPTY = ("arguments", "output", "input", "action", "operation", "image_url")
"""The members in which they do; a function without arguments has still been called."""
_FETCHED = frozenset({"documenturl", "audiourl", "fileurl", "videourl", "inputaudio"})
_EDITS = frozenset({"edits[]", "edits", "contextmanagement[]", "contextmanagement"})
_FREE_FORM = frozenset(
    {"parameters", "arguments", "args", "response", "metadata", "labels", "input_examples", "input_schema", "documents"}
)
_SEARCHES = re.compile(r"(.*[-/._:])?(search|research|sonar|online|compound|fusion)([-._:].*)?|.*@preset/.*", re.DOTALL)
"""Models that look things up by themselves, or are made of stored settings: what they read is in no call."""


class WorstCase(NamedTuple):
    """What a call takes at most, in tokens. model: as it names it, "" if it does not."""

    model: str
    input: int
    output: int
    dearer: str = ""
    """A part of it for which another price than the model's usual one may be asked; "" if there is none."""
    answers: int = 1
    """How many the model puts out at the same time."""


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
    shown = _images(whole)
    tokens = len(content) - images.data_bytes(shown) + images.tokens(shown, model) + OVERHEAD_TOKENS
    each, answers = _output(whole, members, model) if members else (0, 1)
    # What a predicted output gets wrong is billed as output.
    predicted = len(content) if members and whole.get("prediction") is not None else 0
    return WorstCase(model, tokens, each * answers + predicted, dearer.part(whole), answers)


def _images(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the images of a body, of which every object is looked at; raises UsageUnbounded."""
    for name, value in body.items():
        if value is None or value is False:
            continue
        # SECURITY: the model that counts is the one that runs (test_no_other_model_runs).
        if name != "model" and model_members.is_odd(name):
            raise UsageUnbounded(name)
    return [one for name, one in _objects(body) if images.is_image(name, one)]


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
            is_use = value is not body and str(value.get("type")).endswith("tool_use")
            left += [
                (member, held)
                for member, held in value.items()
                if isinstance(held, dict | list) and not _is_free(member) and not (is_use and member == "input")
            ]


def _is_free(member: str) -> bool:
    return member in _FREE_FORM or member.lower().endswith("schema")


def _check(name: str, value: Mapping[str, object]) -> None:
    """Raise UsageUnbounded for a tool that the provider runs, and for what it fetches or has stored."""
    kind = type_of(value)
    # SECURITY: Google's parsers take an object for a list of one, and Go's another spelling
    # (test_what_is_not_in_the_call_is_refused).
    if plain(name.rstrip("[]")).endswith("tools") and not _is_of_the_caller(kind, value):
        raise UsageUnbounded(f"tools: {kind}" if isinstance(kind, str) else "tools")
    is_text = kind == "document" and type_of(value.get("source")) == "text"
    if isinstance(kind, str) and kind in _FILES and not is_text:
        raise UsageUnbounded(kind)
    # What a provider has a model sum up on the way is billed, and its answers' totals leave that out.
    if plain(name) in _EDITS and isinstance(kind, str) and kind.startswith("compact"):
        raise UsageUnbounded(kind)
    if name == "input[]":
        _check_item(kind, value)
    for member, held in value.items():
        spelled = plain(member)
        # SECURITY: what is stored at the provider counts as input, and nobody sees how much that is; some read it further
        # down, too (test_what_is_not_in_the_call_is_refused).
        is_stored = spelled in _STORED or model_members.is_named(member, model_members.STORED)
        if held not in (None, False) and (is_stored or (spelled == "prompt" and isinstance(held, dict))):
            raise UsageUnbounded(member)
        # SECURITY: an hour of silence is a few kilobytes, and as many tokens as any other; an answer's sound is kept under an id
        # (test_what_is_not_in_the_call_is_refused).
        is_kept_sound = spelled == "audio" and isinstance(held, dict) and "id" in held
        if held is not None and (spelled in _FETCHED or is_kept_sound):
            raise UsageUnbounded(member)
        if spelled == "filedata" and isinstance(held, dict):
            raise UsageUnbounded(member)
        if spelled == "inlinedata" and not images.holds_an_image(held):
            raise UsageUnbounded(member)


def _check_item(kind: object, item: Mapping[str, object]) -> None:
    """Raise UsageUnbounded for an item of a response's input that the provider has stored, or adds to."""
    # SECURITY: an id stands for what is stored, whatever stands beside it but the content itself
    # (test_what_is_not_in_the_call_is_refused).
    if kind is not None and kind not in _ITEMS:
        raise UsageUnbounded(str(kind)[:64])
    is_whole = any(map(item.get, _CONTENTS)) or any(item.get(one) is not None for one in _MAY_BE_EMPTY)
    if item.get("id") is not None and not is_whole:
        raise UsageUnbounded("item_reference" if kind is None else f"{kind} by its id")


def _is_of_the_caller(kind: object, tool: Mapping[str, object]) -> bool:
    if isinstance(kind, str):
        return _TOOL.fullmatch(kind) is not None
    names = {plain(name) for name in tool}
    return kind is None and (names == _DECLARED or ("name" in tool and names <= _NAMED))


def _output(body: Mapping[str, object], members: frozenset[str], model: str) -> tuple[int, int]:
    """Return how many tokens one answer has at most, and how many answers a body asks for."""
    within = [
        body,
        *(one for name, one in body.items() if plain(name) == "generationconfig" and isinstance(one, dict)),
    ]
    given = [(name, value) for one in within for name, value in one.items() if value is not None]
    limiting = {plain(one) for one in members}
    limits = [_number(name, value) for name, value in given if plain(name) in limiting]
    # SECURITY: a member that only some parsers take for the limit does not lower it (test_another_spelling_lowers_nothing).
    # 0 may mean "not set" to a parser (test_a_limit_of_nothing_is_none).
    is_limited = any(name in members for name, _ in given) and max(limits) > 0
    most = max(limits) if is_limited else max([default_output(model), *limits])
    times = [_number(name, value) for name, value in given if plain(name) in ("n", "bestof", "candidatecount")]
    prompts = body.get("prompt")
    many = len(prompts) if isinstance(prompts, list) and any(isinstance(one, str | list) for one in prompts) else 1
    return most, max([1, *times]) * max(1, many)


def _number(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_LIMIT:
        raise UsageUnclear(name)
    return value
