"""What an answer says of the tokens that it took, provider by provider.

Where it is from: the types of the providers' SDKs, as read in 2026. The edge on AWS sees no answer and does not import this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MOST = 10**9
"""Tokens of one answer; a number over it is not believed."""
_MODEL = re.compile(r"[A-Za-z0-9._:/@+~-]{1,100}")


class UsageForm(NamedTuple):
    """One form in which answers say it. Members are named by paths, with dots."""

    objects: tuple[str, ...]
    """Where the object is that says it, in an answer or in an event of a stream."""
    input: tuple[str, ...]
    """Its members that add up to all tokens of the input, those from a cache among them."""
    output: tuple[str, ...]
    """Its members that add up to all tokens of the output."""
    cached: tuple[str, ...] = ()
    """Its member for the tokens of the input that came from a cache; the first that is there."""


class TokenUse(NamedTuple):
    """What one answer took. model: the name that the answer has for it, "" if it has none that is plain."""

    model: str
    input: int
    output: int
    cached: int


_MODELS = ("model", "response.model", "message.model", "modelVersion")
"""Where an answer says which model ran."""
_USAGE = ("usage", "response.usage", "message.usage", "x_groq.usage")
CHAT = UsageForm(
    objects=_USAGE,
    input=("prompt_tokens",),
    output=("completion_tokens",),
    cached=("prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens"),
)
"""OpenAI's chats and embeddings, and their copies. Tokens of reasoning are within those of the completion."""
TOKENS = UsageForm(
    objects=_USAGE,
    # Anthropic counts what was written to a cache or read from it beside the rest, and OpenAI within it.
    input=("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    output=("output_tokens",),
    cached=("cache_read_input_tokens", "input_tokens_details.cached_tokens"),
)
"""OpenAI's responses, images and transcriptions, and Anthropic's messages."""
GEMINI = UsageForm(
    objects=("usageMetadata", "response.usageMetadata"),
    input=("promptTokenCount", "toolUsePromptTokenCount"),
    output=("candidatesTokenCount", "thoughtsTokenCount"),
    cached=("cachedContentTokenCount",),
)
COHERE = UsageForm(
    objects=("usage", "delta.usage", "meta"),
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


_FREE = ("count_tokens", "input_tokens", ":countTokens", "moderations", "moderation", "rerank")
"""What endpoints end with whose answers say nothing of usage."""


def is_read(provider: str, path: str) -> bool:
    """Whether an answer at a path, in the provider's own form, may say what it took."""
    return provider in FORMS and not path.endswith(_FREE)


def read(provider: str, documents: Iterable[object]) -> TokenUse | None:
    """Return what an answer took; None if it does not say so.

    documents: the JSON of an answer, or of the events of a stream that speak of it, in their order: what a later one says
    replaces what an earlier one said.
    """
    found = list(documents)
    for form in FORMS.get(provider, ()):
        numbers: dict[str, int] = {}
        for document in found:
            numbers |= _numbers(form, document)
        if not numbers.keys().isdisjoint(form.input + form.output):
            cached = next((numbers[one] for one in form.cached if one in numbers), 0)
            used_input = sum(numbers.get(one, 0) for one in form.input)
            output = sum(numbers.get(one, 0) for one in form.output)
            return TokenUse(_model(found), used_input, output, min(cached, used_input))
    return None


def _numbers(form: UsageForm, document: object) -> dict[str, int]:
    """Return the numbers of a form in a document, by member; without what is no plausible number."""
    for where in form.objects:
        held = _at(document, where)
        if isinstance(held, Mapping):
            members = {one: _at(held, one) for one in (*form.input, *form.output, *form.cached)}
            return {one: int(value) for one, value in members.items() if _is_count(value)}  # type: ignore[call-overload]  # it is a number
    return {}


def _is_count(value: object) -> bool:
    # SECURITY: a provider may say anything (test_no_absurd_number_is_believed).
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST


def _model(documents: Iterable[object]) -> str:
    for document in documents:
        for where in _MODELS:
            value = _at(document, where)
            # SECURITY: a name is stored and shown (test_only_plain_names_are_kept).
            if isinstance(value, str) and _MODEL.fullmatch(value):
                return value
    return ""


def _at(document: object, path: str) -> object:
    for name in path.split("."):
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document
