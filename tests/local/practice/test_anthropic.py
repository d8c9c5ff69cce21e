from collections.abc import Iterator

import anthropic
import pytest

from local.practice.completions import SENTENCE
from local.practice.provider import make_provider
from tests.practice_server import KEYS, PATIENCE, serving


@pytest.fixture
def provider() -> Iterator[str]:
    with serving(make_provider(KEYS, chunk_delay=0.0)) as url:
        yield url


def anthropic_client(url: str, key: str = KEYS["anthropic"]) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=PATIENCE)


def test_anthropic_sdk_reads_a_plain_message(provider: str) -> None:
    with anthropic_client(provider) as client:
        message = client.messages.create(
            model="claude-sonnet-4-6", max_tokens=1024, messages=[{"role": "user", "content": "Why?"}]
        )
    block = message.content[0]
    assert block.type == "text"
    assert (block.text, message.stop_reason) == (SENTENCE, "end_turn")
    assert message.usage.output_tokens == len(SENTENCE.split())
    assert (message._request_id or "").startswith("req_")


def test_sdk_accumulates_a_streamed_message(provider: str) -> None:
    """Anthropic's SDK accumulates a streamed message."""
    with (
        anthropic_client(provider) as client,
        client.messages.stream(
            model="claude-sonnet-4-6", max_tokens=4, messages=[{"role": "user", "content": "Why?"}]
        ) as stream,
    ):
        words = list(stream.text_stream)
        final = stream.get_final_message()
    assert words == ["A", " key", " that", " lives"]
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 4)


def test_anthropic_sdk_reads_the_models(provider: str) -> None:
    with anthropic_client(provider) as client:
        assert "claude-sonnet-4-6" in [model.id for model in client.models.list()]
        assert client.models.retrieve("claude-sonnet-4-6").display_name == "Claude Sonnet 4.6"
        with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
            client.models.retrieve("claude-none")


@pytest.mark.parametrize("key", ["sk-wrong", KEYS["openai"], KEYS["generic"]])
def test_sdk_refused_with_another_key(provider: str, key: str) -> None:
    """Anthropic's SDK gets an authentication error for any other key."""
    with anthropic_client(provider, key) as client, pytest.raises(anthropic.AuthenticationError) as refused:
        client.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=[{"role": "user", "content": "Why?"}])
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["error"]["type"] == "authentication_error"
    assert refused.value.body["request_id"] == refused.value.request_id
