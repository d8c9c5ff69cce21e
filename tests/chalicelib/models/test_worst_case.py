"""What a call may take at most is read from it, or it is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from chalicelib.models import worst_case
from chalicelib.models.body import CallBody
from chalicelib.models.images import DETAILED_IMAGE_TOKENS, IMAGE_TOKENS, SMALL_IMAGE_TOKENS
from chalicelib.models.output_limits import DEFAULT_OUTPUT, default_output
from chalicelib.models.worst_case import OVERHEAD_TOKENS, WorstCase
from tests.refused import refused

CHAT = "POST:/v1/chat/completions"
RESPONSES = "POST:/v1/responses"
OPENROUTER = "POST:/api/v1/chat/completions"
MESSAGES = "POST:/v1/messages"
GEMINI = "POST:/v1beta/models/gemini-2.5-flash:generateContent"
PICTURE = "data:image/png;base64," + "A" * 40_000


def body_of(content: bytes, **more: Any) -> CallBody:  # noqa: ANN401  CallBody's fields
    fields: dict[str, Any] = {"truncated": False, "content_types": ("application/json",), **more}
    return CallBody(base64.b64encode(content).decode(), **fields)


def of(body: dict[str, object], scope: str = CHAT, provider: str = "openai") -> WorstCase:
    found = worst_case.find(provider, scope, body_of(json.dumps(body).encode()))
    assert found is not None
    return found


def answers(body: dict[str, object], scope: str = CHAT, provider: str = "openai") -> int:
    return of(body, scope, provider).answers


def output(body: dict[str, object], scope: str = CHAT, provider: str = "openai") -> int:
    return of(body, scope, provider).output


def reason(body: dict[str, object], scope: str = CHAT, provider: str = "openai") -> str:
    return refused(lambda: of(body, scope, provider)).reason


def test_every_byte_of_a_text_counts() -> None:
    """A token has one byte at least, so that no text takes more tokens than its call has bytes."""
    content = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "a" * 500}], "max_tokens": 7})
    found = worst_case.find("openai", CHAT, body_of(content.encode()))
    assert found == WorstCase("gpt-5", len(content) + OVERHEAD_TOKENS, 7)


@pytest.mark.parametrize(
    ("provider", "scope", "body", "most"),
    [
        ("openai", CHAT, {"max_tokens": 5, "max_completion_tokens": 9}, 9),
        ("openai", CHAT, {"max_completion_tokens": 9, "n": 3}, 27),
        ("openai", RESPONSES, {"max_output_tokens": 11}, 11),
        ("openai", "POST:/v1/completions", {"max_tokens": 5, "prompt": ["a", "b", "c"], "n": 2, "best_of": 4}, 60),
        ("openai", "POST:/v1/completions", {"max_tokens": 5, "prompt": [1, 2, 3]}, 5),
        ("openai", "POST:/v1/embeddings", {"input": ["a", "b"]}, 0),
        ("anthropic", MESSAGES, {"max_tokens": 64}, 64),
        ("gemini", GEMINI, {"generationConfig": {"maxOutputTokens": 8, "candidateCount": 2}}, 16),
        ("gemini", GEMINI, {"generation_config": {"max_output_tokens": 8}}, 8),
        ("cohere", "POST:/v2/chat", {"max_tokens": 4}, 4),
        ("mistral", CHAT, {"max_tokens": 4}, 4),
    ],
)
def test_each_api_has_its_limit_of_output(provider: str, scope: str, body: dict[str, object], most: int) -> None:
    """The output is what the API's own member says, times the answers that are asked for."""
    assert output({"model": "m", **body}, scope, provider) == most


def test_answers_at_once_are_known() -> None:
    """How many answers are put out at the same time is known, for a call that is given up meanwhile."""
    assert answers({"model": "m", "max_tokens": 5, "n": 3}) == 3
    assert answers({"model": "m", "max_tokens": 5, "prompt": ["a", "b"], "best_of": 4}, "POST:/v1/completions") == 8
    assert answers({"model": "m", "input": ["a", "b"]}, "POST:/v1/embeddings") == 1


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gpt-4o-mini-2024-07-18", 16_384),
        ("openai/gpt-4o:extended", 65_536),
        ("gpt-4o-64k-output-alpha", 65_536),
        ("gpt-3.5-turbo-16k", 16_384),
        ("openai/gpt-4.1", 32_768),
        ("o3", 100_000),
        ("unheard-of", DEFAULT_OUTPUT),
    ],
)
def test_without_a_limit_a_model_s_own_counts(model: str, most: int) -> None:
    """A call that sets no limit counts with what its model puts out at most, or with the most of all."""
    assert (default_output(model), output({"model": model})) == (most, most)


@pytest.mark.parametrize(
    ("provider", "scope", "body"),
    [
        ("openai", CHAT, {"Max_Tokens": 1}),
        ("openai", RESPONSES, {"max_tokens": 1}),
        ("mistral", CHAT, {"max_completion_tokens": 1}),
        ("gemini", GEMINI, {"max_tokens": 1}),
        ("openai", CHAT, {"max_tokens": None}),
    ],
)
def test_another_spelling_lowers_nothing(provider: str, scope: str, body: dict[str, object]) -> None:
    """A member that the API does not take for its limit, or that only some parsers do, does not lower what counts."""
    assert output({"model": "m", **body}, scope, provider) >= 65_536


def test_another_spelling_may_raise_it() -> None:
    """Of two spellings the larger counts, since a parser may take either."""
    assert output({"model": "m", "max_tokens": 1, "MAX_TOKENS": 900}) == 900


@pytest.mark.parametrize("value", ["5", 1.5, -1, True, 10**10, [5]])
def test_a_limit_that_is_no_number_is_refused(value: object) -> None:
    """A limit that parsers may read differently is no limit."""
    assert reason({"model": "m", "max_tokens": value}) == "usage_unclear"
    assert reason({"model": "m", "max_tokens": 5, "n": value}) == "usage_unclear"


@pytest.mark.parametrize(
    ("model", "tokens"), [("gpt-5", IMAGE_TOKENS), ("gpt-4o-mini", SMALL_IMAGE_TOKENS), ("claude-9", IMAGE_TOKENS)]
)
@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}},
        {"type": "input_image", "image_url": PICTURE},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 40_000}},
        {"inlineData": {"mimeType": "image/png", "data": "A" * 40_000}},
        {"image_url": "https://pictures.example/1.png"},
        {"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "file-1"}},
    ],
)
def test_an_image_counts_as_one(part: dict[str, object], model: str, tokens: int) -> None:
    """An image counts for what models take for one, and its bytes do not."""
    found = of({"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": [part, part]}]})
    assert 2 * tokens < found.input < 2 * tokens + OVERHEAD_TOKENS + 1_000


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "original"}},
        {"type": "input_image", "image_url": PICTURE, "detail": "Original"},
    ],
)
def test_a_detailed_image_counts_for_more(part: dict[str, object]) -> None:
    """An image that is read as it is, and not scaled down, counts for as many patches as it may have."""
    body: dict[str, object] = {"max_tokens": 1, "messages": [{"role": "user", "content": [part]}]}
    assert of({**body, "model": "gpt-5.6"}).input > DETAILED_IMAGE_TOKENS
    assert of({**body, "model": "gpt-4o-mini"}).input > SMALL_IMAGE_TOKENS


def test_an_image_within_an_image_counts_once() -> None:
    """The data of an image is left out once, whatever it stands in, so that none makes up for a text."""
    inner = {"type": "image", "data": "A" * 400_000}
    nested = of(
        {"model": "gpt-5", "max_tokens": 1, "messages": [{"content": [{"type": "image_url", "image_url": inner}]}]}
    )
    plain = of(
        {"model": "gpt-5", "max_tokens": 1, "messages": [{"content": [{"type": "image_url", "image_url": {}}, inner]}]}
    )
    assert nested.input == plain.input - len("{}, ")
    assert nested.input > 2 * IMAGE_TOKENS


def test_what_a_function_returned_is_text() -> None:
    """A model reads what is in a function's response, and so it counts, whatever it looks like."""
    response = {"type": "image", "data": "A" * 40_000}
    parts = [{"functionResponse": {"name": "f", "response": response}}]
    assert of({"contents": [{"parts": parts}]}, GEMINI, "gemini").input > 40_000


def test_a_text_within_an_image_counts() -> None:
    """What stands in an image's part without being one counts as the text that it may be read as."""
    part = {"type": "image_url", "image_url": {"url": PICTURE}, "text": "tell me " * 10_000}
    assert of({"model": "m", "messages": [{"content": [part]}]}).input > 80_000


@pytest.mark.parametrize(
    ("scope", "body"),
    [
        (RESPONSES, {"previous_response_id": "resp_1"}),
        (RESPONSES, {"conversation": "conv_1"}),
        (RESPONSES, {"background": True}),
        (RESPONSES, {"prompt": {"id": "pmpt_1"}}),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        (RESPONSES, {"input": [{"id": "msg_1"}]}),
        (RESPONSES, {"input": [{"id": "msg_1", "role": None}]}),
        (RESPONSES, {"input": [{"id": "msg_1", "type": "message", "role": "user"}]}),
        (RESPONSES, {"input": [{"id": "rs_1", "type": "reasoning", "summary": []}]}),
        (RESPONSES, {"input": [{"id": "rs_1", "type": "reasoning", "summary": [], "content": []}]}),
        (RESPONSES, {"input": [{"id": "ig_1", "type": "image_generation_call"}]}),
        (RESPONSES, {"input": [{"type": "compaction_trigger"}]}),
        (RESPONSES, {"input": [{"type": "mcp_approval_response", "approval_request_id": "m", "approve": True}]}),
        (RESPONSES, {"type": "tool_use", "input": [{"type": "item_reference", "id": "msg_1"}]}),
        (RESPONSES, {"input": [{"type": "Item_Reference", "id": "msg_1"}]}),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}),
        (RESPONSES, {"tools": [{"type": "web_search"}]}),
        (RESPONSES, {"tools": [{"type": "mcp", "server_url": "https://x.example"}]}),
        (CHAT, {"web_search_options": {}}),
        (CHAT, {"messages": [{"content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}),
        (CHAT, {"tools": [{"google_search": {}}]}),
        (CHAT, {"tools": {"google_search": {}}}),
        (CHAT, {"Tools": [{"google_search": {}}]}),
        (CHAT, {"tools": [[{"google_search": {}}]]}),
        (CHAT, {"tools": [{"name": "x", "google_search": {}}]}),
        (CHAT, {"contents": [{"parts": [{"fileData": {"fileUri": "https://v.example"}}]}]}),
        (CHAT, {"contents": [{"parts": [{"inline_data": {"mime_type": "application/pdf", "data": "AA"}}]}]}),
        (CHAT, {"mcp_servers": [{"url": "https://x.example"}]}),
        (CHAT, {"messages": [{"content": [{"type": "document", "source": {"type": "url"}}]}]}),
        (CHAT, {"cachedContent": "cachedContents/1"}),
        (CHAT, {"extra_body": {"google": {"cached_content": "cachedContents/1"}}}),
        (CHAT, {"google": {"cachedContent": "cachedContents/1"}}),
        (CHAT, {"extra_body": {"prompt": {"id": "pmpt_1"}}}),
        (
            CHAT,
            {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:audio/mp3;base64,QUFB"}}]}]},
        ),
        (CHAT, {"messages": [{"content": [{"type": "input_image", "image_url": "DATA:application/pdf;base64,QUFB"}]}]}),
        (CHAT, {"parts": [{"inlineData": {"mimeType": "image/png", "mime_type": "audio/mp3", "data": "QUFB"}}]}),
        (CHAT, {"messages": [{"content": [{"type": "document_url", "document_url": "https://x.example/a.pdf"}]}]}),
        (CHAT, {"messages": [{"content": [{"document_url": "https://x.example/a.pdf"}]}]}),
        (CHAT, {"messages": [{"content": [{"type": "audio_url", "audio_url": {"url": "https://x.example/a.mp3"}}]}]}),
        (CHAT, {"messages": [{"content": [{"type": "input_audio", "input_audio": "https://x.example/a.mp3"}]}]}),
        (CHAT, {"messages": [{"content": [{"type": "input_audio", "input_audio": {"data": "QUFB"}}]}]}),
        (CHAT, {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/flac", "data": "QUFB"}}]}]}),
        (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
        (CHAT, {"messages": [{"content": [{"type": "tool_file", "file_id": "file-1"}]}]}),
        (CHAT, {"deferred_tools": [{"type": "openrouter:web_search"}]}),
        (CHAT, {"context_management": {"edits": [{"type": "compact_20260112"}]}}),
        (CHAT, {"compaction": {"type": "summarize"}}),
        (RESPONSES, {"context_management": [{"type": "compaction"}]}),
    ],
    ids=str,
)
def test_what_is_not_in_the_call_is_refused(scope: str, body: dict[str, object]) -> None:
    """What is stored at the provider, fetched by it or run there may take anything, and is refused."""
    assert reason({"model": "m", "max_tokens": 1, **body}, scope) == "usage_unbounded"


@pytest.mark.parametrize(
    ("provider", "scope", "body"),
    [
        ("openrouter", OPENROUTER, {"models": ["openai/o1-pro"]}),
        ("openrouter", OPENROUTER, {"model": "m", "Model": "openai/o1-pro"}),
        ("anthropic", MESSAGES, {"fallbacks": [{"model": "claude-opus-4-1"}]}),
    ],
)
def test_no_other_model_runs(provider: str, scope: str, body: dict[str, object]) -> None:
    """A member that may have another model run is refused: it may cost more, and put out more, than the one that counts."""
    assert reason({"model": "m", "max_tokens": 1, **body}, scope, provider) == "usage_unbounded"


@pytest.mark.parametrize(
    ("provider", "scope", "model"),
    [
        ("openai", CHAT, "gpt-4o-search-preview"),
        ("openai", CHAT, "gpt-5-search-api-2025-10-14"),
        ("openai", RESPONSES, "o3-deep-research"),
        ("groq", "POST:/openai/v1/chat/completions", "groq/compound-mini"),
        ("groq", "POST:/openai/v1/chat/completions", "compound-beta"),
        ("openrouter", OPENROUTER, "perplexity/sonar-pro"),
        ("openrouter", OPENROUTER, "openai/gpt-4o:online"),
        ("openrouter", OPENROUTER, "openai/gpt-4o@preset/mine"),
        ("openrouter", OPENROUTER, "openrouter/fusion"),
    ],
)
def test_a_model_that_searches_by_itself_is_refused(provider: str, scope: str, model: str) -> None:
    """What a model looks up is its input, which `max_tokens` does not limit and the call does not show."""
    assert reason({"model": model, "max_tokens": 1, "max_output_tokens": 1}, scope, provider) == "usage_unbounded"


@pytest.mark.parametrize("model", ["nousresearch/hermes-4-70b", "gpt-5", "claude-sonnet-4-6", "openrouter/auto"])
def test_a_model_that_only_sounds_so_is_open(model: str) -> None:
    """A name is read word by word."""
    assert of({"model": model, "max_tokens": 1}, OPENROUTER, "openrouter").output == 1


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"type": "file"}}}}]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "bash_20250124", "name": "bash"}]},
        {"tools": [{"functionDeclarations": [{"name": "f"}]}]},
        {"messages": [{"content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"id": 5, "tools": [1]}}]}]},
        {"messages": [{"content": [{"type": "document", "source": {"type": "text", "data": "some text"}}]}]},
        {
            "input": [{"type": "message", "role": "user", "id": "msg_1", "content": "hello"}],
            "previous_response_id": None,
        },
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "QUFB"}]},
        {"input": [{"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": ""}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": ""}, {"role": "user", "content": "go"}]},
        {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}, "cached_content": None}}},
        {"background": False, "store": True, "metadata": {"type": "file"}},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}, "fallbacks": None},
    ],
    ids=str,
)
def test_what_the_caller_sends_or_runs_is_open(body: dict[str, object]) -> None:
    """Texts, and tools that the caller runs, are in the call."""
    assert of({"model": "m", "max_tokens": 1, **body}).output == 1


@pytest.mark.parametrize(
    ("provider", "scope"),
    [
        ("openai", "GET:/v1/models"),
        ("openai", "GET:/v1/models/gpt-5"),
        ("openai", "POST:/v1/moderations"),
        ("openai", "POST:/v1/responses/input_tokens"),
        ("anthropic", "POST:/v1/messages/count_tokens"),
        ("gemini", "POST:/v1beta/models/gemini-2.5-flash:countTokens"),
    ],
)
def test_what_runs_no_model_takes_nothing(provider: str, scope: str) -> None:
    """Lists of models and counts of tokens are open and take nothing."""
    assert worst_case.find(provider, scope, CallBody()) is None


@pytest.mark.parametrize(
    ("provider", "scope", "why"),
    [
        ("openai", "POST:/v1/images/generations", "usage_endpoint_closed"),
        ("openai", "POST:/v1/audio/transcriptions", "usage_endpoint_closed"),
        ("openai", "POST:/v1/responses/compact", "usage_endpoint_closed"),
        ("openai", "POST:/v1/batches", "usage_endpoint_closed"),
        ("openai", "GET:/v1/responses", "usage_endpoint_closed"),
        ("openai", "GET:/v1/realtime", "usage_endpoint_closed"),
        ("cohere", "POST:/v2/rerank", "usage_endpoint_closed"),
        ("generic", "POST:/v1/chat/completions", "usage_unknown"),
    ],
)
def test_what_cannot_be_known_beforehand_is_closed(provider: str, scope: str, why: str) -> None:
    """Endpoints whose answers say nothing, or have no limit, are closed to grants that limit what models take."""
    assert refused(lambda: worst_case.find(provider, scope, CallBody())).reason == why


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (CallBody(content_types=("application/json",)), "body_not_shown"),
        (body_of(b"{}", truncated=True), "body_cut"),
        (body_of(b"{}", is_outline=True), "body_cut"),
        (body_of(b'{"max_tokens": 1, "max_tokens": 9}'), "body_twice"),
        (body_of(b"[]"), "body_no_json"),
        (body_of(b"{}", content_types=("text/plain",)), "body_media_type"),
        (body_of(b"{}", content_encodings=("gzip",)), "body_encoded"),
    ],
)
def test_a_body_that_is_not_seen_whole_is_refused(body: CallBody, why: str) -> None:
    """What the edge cannot read whole, and in one way, has no worst case; the refusal says which rule of the grant asks for it."""
    refusal = refused(lambda: worst_case.find("openai", CHAT, body))
    assert refusal.reason == why
    assert "models, " not in refusal.description


def test_a_limit_of_nothing_is_none() -> None:
    """A limit of 0 does not lower the worst case, since a provider may take it for none."""
    assert output({"model": "gpt-4o", "max_tokens": 0}) == output({"model": "gpt-4o"}) == 16_384
