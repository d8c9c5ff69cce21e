"""What a practice completion says: its words, its length, and how one event of a stream is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice

Json = dict[str, object]

SENTENCE = (
    "A key that lives for minutes is like a hotel key card: it opens your door today and nothing at all tomorrow."
)
MAX_WORDS = 100_000
# What the three APIs call "at most so many tokens"; here a token is a word.
_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class UnusableBodyError(ValueError):
    """The request's body cannot be answered; the text says why and is meant for the caller."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event as it goes on the wire; `is_word` marks those that carry a word of the answer."""

    wire: bytes
    is_word: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion before an API gives it its form.

    `words` join to the text as they are, `created` is in Unix seconds, `is_cut` says that the asked length ended it.
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
        """The whole answer."""
        return "".join(self.words)


def answer_to(body: Mapping[str, object], *, now: int, new_id: str) -> Answer:
    """Compose the answer to the body of a chat, responses or messages request.

    A plain answer is the sentence, cut to the asked number of words. A streamed one has exactly the asked number: the
    sentence is repeated as often as it takes, so that a test can have a stream as long as it needs.
    Raises `UnusableBodyError` if `model` is not a name or the length is not a number from 1 to `MAX_WORDS`.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise UnusableBodyError("model: a name is required")
    limit = _word_limit(body)
    sentence = [f" {word}" for word in SENTENCE.split()]
    supply = cycle(sentence) if body.get("stream") is True else sentence
    words = list(islice(supply, limit or len(sentence)))
    words[0] = words[0].lstrip()
    options = body.get("stream_options")
    return Answer(
        id=new_id,
        created=now,
        model=model,
        words=tuple(words),
        is_cut=len(words) == limit,
        prompt_tokens=max(1, len(json.dumps(body)) // 4),
        reports_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def server_event(data: Json, *, name: str = "", is_word: bool = False) -> ServerEvent:
    """Write one event: an `event:` line if it has a name, then its data as one line of JSON."""
    head = f"event: {name}\n" if name else ""
    return ServerEvent(f"{head}data: {json.dumps(data)}\n\n".encode(), is_word)


def _word_limit(body: Mapping[str, object]) -> int | None:
    for field in _LENGTH_FIELDS:
        limit = body.get(field)
        if limit is None:
            continue
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_WORDS:
            raise UnusableBodyError(f"{field}: a whole number from 1 to {MAX_WORDS} is required")
        return limit
    return None
