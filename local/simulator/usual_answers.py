"""What answers took that say it in the usual way, as nearly all do: read in C, where to look for it takes several times as long.

The rules are those of `chalicelib.providers.answer_usage`, written out for two of its forms
(test_the_usual_is_read_as_all_else).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from chalicelib.providers.answer_usage import CHAT, FORMS, LONGEST, MOST, TOKENS, TokenUse, is_plain

_Number = Annotated[int, Meta(ge=0, le=MOST)]
MAY_SAY_IT: Final = b'"usage'
"""What an answer has in it that says what it took, as plain text."""
DATA: Final = b"data:"
"""What a line of a stream begins with that is an event's."""


class _Details(Struct, gc=False):
    cached_tokens: _Number = 0
    cache_write_tokens: _Number = 0


class _Usage(Struct, gc=False):
    """The members of both forms; whatever else there is, msgspec skips."""

    prompt_tokens: _Number = 0
    completion_tokens: _Number = 0
    prompt_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: _Number = 0
    input_tokens: _Number = 0
    output_tokens: _Number = 0
    cache_creation_input_tokens: _Number = 0
    cache_read_input_tokens: _Number = 0
    input_tokens_details: _Details | None = None
    input_token_details: None = None  # another form of it, which takes a closer look
    total_tokens: _Number = 0


class _Answer(Struct, gc=False):
    model: Annotated[str, Meta(max_length=LONGEST)]
    usage: _Usage


_DECODE: Final = msgspec.json.Decoder(_Answer).decode
_new: Final = tuple.__new__
"""What a NamedTuple does itself, in a function of its own."""
_HAVE_CHAT: Final = {name: CHAT in forms for name, forms in FORMS.items() if {*forms} <= {CHAT, TOKENS}}
"""The providers whose answers have no other form, and whether they have that of chats."""


def read(provider: str, document: bytes, *, is_all: bool = True) -> TokenUse | None:
    """Return what one JSON document with the members `model` and `usage` says; None if it takes a closer look.

    is_all: whether it is the answer, and not the last event of a stream that says something of it.
    """
    has_chat = _HAVE_CHAT.get(provider)
    if has_chat is None:
        return None
    try:
        said = _DECODE(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    model, usage = said.model, said.usage
    written = 0
    if has_chat and (usage.prompt_tokens or usage.completion_tokens):
        # SECURITY: an event that leaves out a part does not say all (test_a_part_is_not_all).
        if not is_all and not (usage.prompt_tokens and usage.completion_tokens):
            return None
        cached, details = usage.prompt_cache_hit_tokens, usage.prompt_tokens_details
        tokens_in, output = usage.prompt_tokens, usage.completion_tokens
    elif is_all:
        cached, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
        tokens_in, output = usage.input_tokens + cached + written, usage.output_tokens
        details = usage.input_tokens_details
    else:
        return None
    if details is not None:
        cached, written = cached or details.cached_tokens, written or details.cache_write_tokens
    agrees = 0 < tokens_in + output >= usage.total_tokens and cached + written <= tokens_in
    return _new(TokenUse, (model, tokens_in, output, cached, written)) if agrees and is_plain(model) else None


def read_stream(provider: str, events: bytes) -> TokenUse | None:
    """Return the same of all events of a stream: what the last one says that says something of it."""
    at = events.rfind(MAY_SAY_IT)
    if at < 0:
        return None
    begin, end = events.rfind(b"\n", 0, at) + 1, events.find(b"\n", at)
    if end < 0 or not events.startswith(DATA, begin):
        return None
    return read(provider, events[begin + len(DATA) : end], is_all=False)


@lru_cache(maxsize=64)
def reader(content_type: str) -> Callable[[str, bytes], TokenUse | None] | None:
    """Return what reads an answer, `read` or `read_stream`; None if it is something else."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return read_stream
    return read if media_type.endswith("json") else None
