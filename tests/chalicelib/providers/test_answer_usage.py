"""What answers say of the tokens that they took, in the forms of their providers."""

from __future__ import annotations

import pytest

from chalicelib.providers.answer_usage import FORMS, MOST, TokenUse, is_read, read
from chalicelib.providers.presets import PROVIDERS

OPENAI_CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-5-mini-2025-08-07",
    "choices": [],
    "usage": {
        "prompt_tokens": 120,
        "completion_tokens": 30,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 20},
    },
}
RESPONSES_EVENT = {
    "type": "response.completed",
    "response": {
        "model": "gpt-5-mini",
        "usage": {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 10},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 123,
        },
    },
}
MESSAGE = {
    "model": "claude-sonnet-5",
    "usage": {
        "input_tokens": 20,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 4000,
        "output_tokens": 50,
    },
}
MESSAGE_START = {"type": "message_start", "message": {**MESSAGE, "usage": {**MESSAGE["usage"], "output_tokens": 1}}}  # type: ignore[dict-item]
MESSAGE_DELTA = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 50}}
GEMINI = {
    "modelVersion": "gemini-3-flash",
    "usageMetadata": {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 40,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 13,
        "toolUsePromptTokenCount": 5,
        "totalTokenCount": 125,
    },
}
GEMINI_BEFORE = {
    "modelVersion": "gemini-3-flash",
    "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 1},
}
COHERE = {
    "usage": {"billed_units": {"input_tokens": 5.0, "output_tokens": 9.0}, "tokens": {"input_tokens": 500.0}},
}
GROQ_EVENT = {"model": "llama-4", "x_groq": {"usage": {"prompt_tokens": 18, "completion_tokens": 556}}}
REALTIME_EVENT = {
    "type": "response.done",
    "response": {
        "usage": {
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {"cached_tokens": 64, "text_tokens": 119},
        }
    },
}
DEEPSEEK = {
    "model": "deepseek-chat",
    "usage": {
        "prompt_tokens": 16,
        "completion_tokens": 10,
        "prompt_cache_hit_tokens": 12,
        "prompt_cache_miss_tokens": 4,
    },
}


@pytest.mark.parametrize(
    ("provider", "documents", "expected"),
    [
        ("openai", [OPENAI_CHAT], ("gpt-5-mini-2025-08-07", 120, 30, 100)),
        ("openai", [RESPONSES_EVENT], ("gpt-5-mini", 36, 87, 10)),
        (
            "openai",
            [{"model": "text-embedding-3-small", "usage": {"prompt_tokens": 8}}],
            ("text-embedding-3-small", 8, 0, 0),
        ),
        ("anthropic", [MESSAGE], ("claude-sonnet-5", 4320, 50, 4000, 300)),
        ("anthropic", [MESSAGE_START, MESSAGE_DELTA], ("claude-sonnet-5", 4320, 50, 4000, 300)),
        ("gemini", [GEMINI_BEFORE, GEMINI], ("gemini-3-flash", 105, 20, 40)),
        ("cohere", [COHERE], ("", 5, 9, 0)),
        ("cohere", [{"type": "message-end", "delta": COHERE}], ("", 5, 9, 0)),
        ("cohere", [{"meta": COHERE["usage"]}], ("", 5, 9, 0)),
        (
            "mistral",
            [{"model": "mistral-small", "usage": {"prompt_tokens": 4, "completion_tokens": 2}}],
            ("mistral-small", 4, 2, 0),
        ),
        ("openai", [REALTIME_EVENT, {"session": {"model": "gpt-realtime"}}], ("gpt-realtime", 132, 121, 64)),
        ("groq", [GROQ_EVENT], ("llama-4", 18, 556, 0)),
        ("deepseek", [DEEPSEEK], ("deepseek-chat", 16, 10, 12)),
    ],
)
def test_usage_in_each_form(provider: str, documents: list[object], expected: tuple[str, int, int, int]) -> None:
    """Input with what came from a cache, output with its reasoning, and how much was cached, whatever the form."""
    assert read(provider, documents) == TokenUse(*expected)


@pytest.mark.parametrize("provider", ["xai", "gemini"])
def test_reasoning_beside_the_completion_counts(provider: str) -> None:
    """Where tokens of reasoning are not within those of the completion, the total has them: they are output all the same."""
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": 2,
        "total_tokens": 331,
        "completion_tokens_details": {"reasoning_tokens": 317},
    }
    assert read(provider, [{"model": "grok-4", "usage": usage}]) == TokenUse("grok-4", 12, 319, 0)


@pytest.mark.parametrize("document", [{}, [], None, {"usage": None}, {"usage": []}, {"usage": {"prompt_tokens": None}}])
def test_an_answer_that_says_nothing(document: object) -> None:
    """What is not said is unknown, and never nothing."""
    assert read("openai", [document]) is None
    assert read("generic", [OPENAI_CHAT]) is None


@pytest.mark.parametrize("number", [-1, MOST + 1, float("inf"), float("nan"), True, "7", [7]])
def test_no_absurd_number_is_believed(number: object) -> None:
    """A number that no answer can have is as good as none."""
    assert read("openai", [{"usage": {"prompt_tokens": number}}]) is None


@pytest.mark.parametrize("number", [-1, MOST + 1, float("nan"), True, "7", {}])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens", "prompt_cache_hit_tokens"])
def test_one_absurd_number_makes_all_unknown(name: str, number: object) -> None:
    """An answer that has one number that none can have is not believed in the others; null is none."""
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_cache_hit_tokens": 3}
    assert read("openai", [{"usage": {**usage, name: number}}]) is None
    assert read("openai", [{"usage": {**usage, name: None}}]) is not None


def test_the_last_event_of_a_chat_says_all() -> None:
    """Of a chat's events the last one says all of it; what one leaves out that has no input, or no output, an earlier one said."""
    first = {"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "prompt_cache_hit_tokens": 1}}
    last = {"model": "m2", "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    assert read("openai", [first, last]) == TokenUse("m2", 9, 2, 0)
    part = {"model": "m2", "usage": {"completion_tokens": 2}}
    assert read("openai", [first, part]) == TokenUse("m", 1, 2, 1)


def test_a_form_that_says_nothing_hides_no_other() -> None:
    """Where an answer has two forms and one is all zeros, the other counts; where each is, it took nothing."""
    zeros = {"prompt_tokens": 0, "completion_tokens": 0}
    assert read("openai", [{"usage": {**zeros, "input_tokens": 5, "output_tokens": 1}}]) == TokenUse("", 5, 1, 0)
    assert read("openai", [{"usage": {**zeros, "input_tokens": 0}}]) == TokenUse("", 0, 0, 0)


def test_no_more_is_cached_than_was_sent() -> None:
    """What came from a cache is a part of the input."""
    usage = {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 100}}
    assert read("openai", [{"usage": usage}]) == TokenUse("", 5, 0, 5)


@pytest.mark.parametrize("model", ["", "a" * 101, "two words", "line\nend", "\x1b[31m", 7, None, ["gpt"], "gpt|x"])
def test_only_plain_names_are_kept(model: object) -> None:
    """A name that is long, or holds what a screen may take for a command, is none."""
    assert read("openai", [{"model": model, "usage": {"prompt_tokens": 1}}]) == TokenUse("", 1, 0, 0)


def test_every_provider_with_models_has_a_form() -> None:
    """A provider that runs models has a form in which its answers speak of usage."""
    assert FORMS.keys() == {name for name, one in PROVIDERS.items() if one.models}


def test_answers_that_never_say_it() -> None:
    """Counting tokens takes none, so that such answers are not counted as unknown."""
    assert is_read("anthropic", "/v1/messages")
    assert not is_read("anthropic", "/v1/messages/count_tokens")
    assert not is_read("gemini", "/v1beta/models/gemini-3-flash:countTokens")
    assert not is_read("generic", "/v1/chat/completions")
