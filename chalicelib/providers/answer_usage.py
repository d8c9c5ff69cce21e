"""What an answer says of the tokens that it took, provider by provider.

Where it is from: the types of the providers' SDKs, as read in 2026. The edge on AWS sees no answer and does not import this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

Path = tuple[str, ...]
"""The members to follow."""
Members = tuple[str, ...]
"""Those of an object that have a number; one within an object of its own is written with a dot."""
MOST = 10**9
"""Tokens of one answer; a number over it is not believed."""
LONGEST = 100
"""Characters of a model's name."""
_MODEL = re.compile(r"[A-Za-z0-9._:/@+~-]+")


class UsageForm(NamedTuple):
    """One form in which answers say it."""

    objects: tuple[Path, ...]
    """Where the object is that says it, in an answer or in an event of a stream."""
    input: Members
    """Its members that add up to all tokens of the input, those from a cache among them."""
    output: Members
    """Its members that add up to all tokens of the output."""
    cached: Members = ()
    """Its members for the tokens of the input that came from a cache; the first that is not 0 counts."""
    written: Members = ()
    """Those for the tokens of the input that were written to one; the first that is not 0 counts."""
    total: Members = ()
    """Those for all tokens, of which those beyond input and output are output, too; the first that is not 0 counts."""
    says_all: bool = False
    """Whether of several events of a stream the last one says all of it if it has input and output."""


def _paths(*written: str) -> tuple[Path, ...]:
    """Return paths that are written with dots."""
    return tuple(tuple(one.split(".")) for one in written)


class TokenUse(NamedTuple):
    """What one answer took. model: the name that the answer has for it, "" if it has none that is plain.

    cached, written: tokens of the input that came from a cache, that were written to one.
    """

    model: str
    input: int
    output: int
    cached: int
    written: int = 0


_MODELS = _paths("model", "response.model", "message.model", "modelVersion", "session.model")
"""Where an answer says which model ran."""
_USAGE = _paths("usage", "response.usage", "message.usage", "x_groq.usage")
CHAT = UsageForm(
    objects=_USAGE,
    input=("prompt_tokens",),
    output=("completion_tokens",),
    cached=("prompt_cache_hit_tokens", "prompt_tokens_details.cached_tokens"),
    written=("prompt_tokens_details.cache_write_tokens",),
    total=("total_tokens",),
    says_all=True,
)
"""OpenAI's chats and embeddings, and their copies.

Tokens of reasoning are within those of the completion; at xAI and in Gemini's copy beside them, and in the total alone.
"""
TOKENS = UsageForm(
    objects=_USAGE,
    # Anthropic counts what was written to a cache or read from it beside the rest, and OpenAI within it.
    input=("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    output=("output_tokens",),
    cached=("cache_read_input_tokens", "input_tokens_details.cached_tokens", "input_token_details.cached_tokens"),
    written=("cache_creation_input_tokens", "input_tokens_details.cache_write_tokens"),
    total=("total_tokens",),
)
"""OpenAI's responses, images and transcriptions, its Realtime API, and Anthropic's messages."""
GEMINI = UsageForm(
    objects=_paths("usageMetadata", "response.usageMetadata"),
    input=("promptTokenCount", "toolUsePromptTokenCount"),
    output=("candidatesTokenCount", "thoughtsTokenCount"),
    cached=("cachedContentTokenCount",),
    total=("totalTokenCount",),
)
BEDROCK = UsageForm(
    objects=_paths("usage"),
    input=("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
    output=("outputTokens",),
    cached=("cacheReadInputTokens",),
    written=("cacheWriteInputTokens",),
)
"""Converse's answers; its streams are AWS's own binary form, which nothing here reads."""
COHERE = UsageForm(
    objects=_paths("usage", "delta.usage", "meta"),
    input=("billed_units.input_tokens",),
    output=("billed_units.output_tokens",),
    cached=("cached_tokens",),
)
"""What is billed; `tokens` beside it has also those of Cohere's own prompts."""

_OPENAI = (CHAT, TOKENS)
FORMS: Mapping[str, tuple[UsageForm, ...]] = {
    "openai": _OPENAI,
    "anthropic": (TOKENS,),
    "gemini": (GEMINI, CHAT),
    "bedrock": (BEDROCK, TOKENS, CHAT),
    "mistral": _OPENAI,
    "cohere": (COHERE, CHAT),
    "azure-openai": _OPENAI,
    "groq": _OPENAI,
    "openrouter": _OPENAI,
    "together": _OPENAI,
    "deepseek": _OPENAI,
    "xai": _OPENAI,
}
"""The forms of each provider's answers; none for one whose answers are not read."""


def _by_name(form: UsageForm) -> Mapping[str, tuple[tuple[str, Path], ...]]:
    """Return every member that has a number, by its first name: all of it, and what follows the name."""
    found: dict[str, tuple[tuple[str, Path], ...]] = {}
    for member in dict.fromkeys(form.input + form.output + form.cached + form.written + form.total):
        name, *rest = member.split(".")
        found[name] = (*found.get(name, ()), (member, tuple(rest)))
    return found


_MEMBERS = {provider: tuple((form, _by_name(form)) for form in forms) for provider, forms in FORMS.items()}
"""The same, each with every member that has a number."""

RESPONSE_BEGINS = "response.created"
"""The event with which a response begins on a WebSocket, in OpenAI's Realtime and Responses APIs and their copies."""
RESPONSE_ENDS = ("response.done", "response.completed", "response.incomplete", "response.failed")
"""Those of which each ends one, and says what it took."""
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
"""The event that says what writing down what was said took, by a model that it does not name."""


_FREE = ("count_tokens", "input_tokens", ":countTokens", "moderations", "moderation", "rerank")
"""What endpoints end with whose answers say nothing of usage."""


@lru_cache(maxsize=256)
def is_read(provider: str, path: str) -> bool:
    """Whether an answer at a path, in the provider's own form, may say what it took."""
    return provider in FORMS and not path.endswith(_FREE)


def has_events(provider: str) -> bool:
    """Whether what a provider says on a WebSocket is understood: the events above."""
    return FORMS.get(provider) is _OPENAI


def read(provider: str, documents: Sequence[object]) -> TokenUse | None:
    """Return what an answer took; None if it does not say so.

    documents: the JSON of an answer, or of the events of a stream that speak of it, in their order: what a later one says
    replaces what an earlier one said. One number that no answer can have, and none of the others is believed. Of several
    forms the first counts that says more than nothing.
    """
    found = None
    for form, members in _MEMBERS.get(provider, ()):
        numbers: dict[str, int] = {}
        saying = [(one, held) for one in documents if (held := _held(form.objects, one)) is not None]
        # SECURITY: one that leaves out a part does not say all (test_the_last_event_of_a_chat_says_all).
        if form.says_all and saying and all(saying[-1][1].get(one) is not None for one in form.input + form.output):
            del saying[:-1]
        for _, held in saying:
            if not _add_numbers(members, held, numbers):
                return None
        if not numbers.keys().isdisjoint(form.input + form.output):
            model = named_model(one for one, _ in saying) or named_model(documents)
            use = _use(form, model, numbers)
            if use.input or use.output:
                return use
            found = found or use
    return found


def _use(form: UsageForm, model: str, numbers: Mapping[str, int]) -> TokenUse:
    """Return what the numbers of a form add up to."""
    tokens_in, output = _sum(numbers, form.input), _sum(numbers, form.output)
    # SECURITY: what is billed is not left out (test_reasoning_beside_the_completion_counts).
    output = max(output, _first(numbers, form.total) - tokens_in)
    cached = min(_first(numbers, form.cached), tokens_in)
    written = min(_first(numbers, form.written), tokens_in - cached)
    return TokenUse(model, tokens_in, output, cached, written)


def _sum(numbers: Mapping[str, int], members: Members) -> int:
    """Return the sum of the members that are there."""
    found = 0
    for one in members:
        found += numbers.get(one, 0)
    return found


def _first(numbers: Mapping[str, int], members: Members) -> int:
    """Return the first of the members that is not 0, 0 if none is."""
    for one in members:
        if found := numbers.get(one):
            return found
    return 0


def _held(objects: tuple[Path, ...], document: object) -> dict[str, object] | None:
    """Return the first of some objects that a document has."""
    for where in objects:
        held = _at(document, where)
        if type(held) is dict:
            return held
    return None


def _add_numbers(
    members: Mapping[str, tuple[tuple[str, Path], ...]], held: Mapping[str, object], numbers: dict[str, int]
) -> bool:
    """Add the numbers of a form's members in an object; return whether each of them is a plausible one."""
    for name in held.keys() & members.keys():
        value = held[name]
        if type(value) is int and 0 <= value <= MOST:  # as nearly all are
            numbers[name] = value
        elif value is not None and not _add_unusual(members[name], value, numbers):
            return False
    return True


def _add_unusual(members: tuple[tuple[str, Path], ...], held: object, numbers: dict[str, int]) -> bool:
    """Do the same with what is no small integer: an object that holds some, say."""
    for member, rest in members:
        value = _at(held, rest)
        if value is None:
            continue
        # SECURITY: a provider may say anything (test_no_absurd_number_is_believed).
        if not (type(value) is int or type(value) is float) or not 0 <= value <= MOST:
            return False
        numbers[member] = int(value)
    return True


def named_model(documents: Iterable[object]) -> str:
    """Return the name that documents have for the model, "" if they have none that is plain."""
    for document in documents:
        for where in _MODELS:
            value = _at(document, where)
            if type(value) is str and len(value) <= LONGEST and is_plain(value):
                return value
    return ""


@lru_cache(maxsize=256)
def is_plain(model: str) -> bool:
    """Whether a name of no more than LONGEST characters has none but such as are shown as they are."""
    # SECURITY: a name is stored and shown (test_only_plain_names_are_kept).
    return _MODEL.fullmatch(model) is not None


def _at(document: object, path: Path) -> object:
    for name in path:
        if type(document) is not dict:
            return None
        document = document.get(name)
    return document
