"""The text of a practice completion, and the server-sent events that carry it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice

Json = dict[str, object]

SENTENCE = (
    "A key that lives for minutes is like a hotel key card: it opens your door today and nothing at all tomorrow."
)
MAX_WORDS = 100_000
# The names of the maximum number of tokens in the three APIs; here a token is a word.
_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class InvalidBodyError(ValueError):
    """The request's body is invalid. The text says why, for the caller."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event. wire: its bytes. is_word: whether it carries a word of the completion."""

    wire: bytes
    is_word: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion, independent of any API's format.

    id: for the response, without the API's prefix
    created: seconds since 1970
    model: as in the request
    words: the text, each word with the space before it
    is_cut: whether the maximum number of tokens ended it
    prompt_tokens: an estimate
    reports_usage: whether a stream ends with the usage
    """

    id: str
    created: int
    model: str
    words: tuple[str, ...]
    is_cut: bool
    prompt_tokens: int
    reports_usage: bool

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.words)


def complete_body(body: Mapping[str, object], *, now: int, new_id: str) -> Completion:
    """Return the completion for the body of a chat, responses or messages request.

    Without streaming it is the sentence, cut to the maximum number of words. A stream has exactly that number of words: the
    sentence is repeated as often as needed, so that a test can have a stream of any length. A coding assistant, which is who
    sends `tools`, asks for more words than it wants: its stream is the sentence once.
    Raises `InvalidBodyError` if `model` is not a name or the length is not a number from 1 to `MAX_WORDS`.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidBodyError("model: a name is required")
    limit = _word_limit(body)
    sentence = [f" {word}" for word in SENTENCE.split()]
    supply = cycle(sentence) if body.get("stream") is True and not body.get("tools") else sentence
    words = list(islice(supply, limit or len(sentence)))
    words[0] = words[0].lstrip()
    options = body.get("stream_options")
    return Completion(
        id=new_id,
        created=now,
        model=model,
        words=tuple(words),
        is_cut=len(words) == limit,
        prompt_tokens=max(1, len(json.dumps(body)) // 4),
        reports_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def server_event(data: Json, *, name: str = "", is_word: bool = False) -> ServerEvent:
    """Return one event: an `event:` line if it has a name, then its data as one line of JSON."""
    head = f"event: {name}\n" if name else ""
    return ServerEvent(f"{head}data: {json.dumps(data)}\n\n".encode(), is_word)


def _word_limit(body: Mapping[str, object]) -> int | None:
    for field in _LENGTH_FIELDS:
        limit = body.get(field)
        if limit is None:
            continue
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_WORDS:
            raise InvalidBodyError(f"{field}: a whole number from 1 to {MAX_WORDS} is required")
        return limit
    return None
