"""What is read quickly is read as everything else is, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.providers import answer_usage
from chalicelib.providers.answer_usage import FORMS, MOST, TokenUse
from local.simulator import usual_answers
from local.simulator.answer_reader import Lines

_FORMS = [form for forms in FORMS.values() for form in forms]
_MEMBERS = sorted(
    {
        one
        for form in _FORMS
        for part in (form.input, form.output, form.cached, form.written, form.total)
        for one in part
    }
)
NUMBERS: st.SearchStrategy[Any] = st.integers(0, 50) | st.sampled_from(
    [0, None, -1, MOST, MOST + 1, 1.0, 2.5, True, "7", [7], {}]
)
MODELS = st.sampled_from(["gpt-5-mini", "", "two words", "a" * 101, None, 7, "\ud800"])


def _usage(numbers: dict[str, Any]) -> dict[str, Any]:
    """An object with numbers at members that are written with a dot."""
    usage: dict[str, Any] = {}
    for member, number in numbers.items():
        name, _, inner = member.partition(".")
        if not inner:
            usage[name] = number
        elif isinstance(held := usage.setdefault(name, {}), dict):
            held[inner] = number
    return usage


USAGES = st.dictionaries(st.sampled_from(_MEMBERS), NUMBERS, max_size=6).map(_usage)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "model": MODELS,
        "usage": USAGES | st.sampled_from([None, [], "usage"]),
        "message": st.fixed_dictionaries({"usage": USAGES, "model": MODELS}),
        "choices": st.just([{"message": {"content": '"usage": {"prompt_tokens": 1}'}}]),
    },
)
SAID = TokenUse("gpt-5-mini", 12, 5, 8)
CHAT = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17, "prompt_tokens_details": {"cached_tokens": 8}}


@given(provider=st.sampled_from(sorted(FORMS)), document=DOCUMENTS)
def test_the_usual_is_read_as_all_else(provider: str, document: dict[str, Any]) -> None:
    """Whatever numbers a document has, and of whatever provider: they are read as by the rules of all forms."""
    found = usual_answers.read(provider, json.dumps(document).encode())
    assert found is None or found == answer_usage.read(provider, [document])


@given(
    provider=st.sampled_from(sorted(FORMS)),
    events=st.lists(DOCUMENTS, max_size=4),
    odd=st.sampled_from([b"", b"data: ", b": \n", b"event: done\n", b'id: {"usage": {}}\n', b"\r\n"]),
    end=st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n", b""]),
)
def test_a_stream_is_read_as_line_by_line(provider: str, events: list[dict[str, Any]], odd: bytes, end: bytes) -> None:
    """A stream's last event is read as when all of its lines are looked at."""
    stream = odd.join([b"", *(b"data: " + json.dumps(one).encode() + end for one in events), b"data: [DONE]" + end])
    found = usual_answers.read_stream(provider, stream)
    lines = Lines()
    lines.feed(stream)
    assert found is None or found == lines.use(provider, is_whole=True)


@pytest.mark.parametrize(
    ("provider", "usage", "expected"),
    [
        ("openai", CHAT, SAID),
        (
            "mistral",
            {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": None},
            SAID._replace(cached=0),
        ),
        ("deepseek", {"prompt_tokens": 12, "completion_tokens": 5, "prompt_cache_hit_tokens": 8}, SAID),
        ("openai", {"input_tokens": 12, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 8}}, SAID),
        (
            "anthropic",
            {"input_tokens": 1, "output_tokens": 5, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 3},
            SAID._replace(written=3),
        ),
    ],
)
def test_the_usual_is_read_at_once(provider: str, usage: dict[str, Any], expected: TokenUse) -> None:
    """What OpenAI, its copies and Anthropic answer takes no closer look."""
    document = json.dumps({"model": "gpt-5-mini", "choices": [], "usage": usage, "more": [{}]}).encode()
    assert usual_answers.read(provider, document) == expected


def test_a_usual_stream_is_read_at_once() -> None:
    """Nor does a stream of chat whose earlier events say that they do not say it yet."""
    events: list[dict[str, Any]] = [
        {"model": "gpt-5-mini", "choices": [], "usage": usage} for usage in (None, None, CHAT)
    ]
    stream = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)
    assert usual_answers.read_stream("openai", stream + b"data: [DONE]\n\n") == SAID
    assert usual_answers.read_stream("openai", stream.rstrip()) is None  # it may have broken off


@pytest.mark.parametrize("usage", [{"completion_tokens": 5}, {"prompt_tokens": 5, "completion_tokens": 0}])
def test_a_part_is_not_all(usage: dict[str, Any]) -> None:
    """What a stream's last event leaves out, an earlier one may have said."""
    events = [{"model": "gpt-5-mini", "usage": one} for one in (CHAT, usage)]
    stream = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)
    assert usual_answers.read_stream("openai", stream) is None


@pytest.mark.parametrize("provider", ["gemini", "bedrock", "cohere", "generic"])
def test_other_forms_take_a_closer_look(provider: str) -> None:
    """A provider that has a form of its own is not read by those of others."""
    assert usual_answers.read(provider, json.dumps({"model": "m", "usage": CHAT}).encode()) is None
