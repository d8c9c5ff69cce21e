from collections.abc import Iterator

import openai
import pytest

from local.practice.completions import SENTENCE
from local.practice.provider import make_provider
from tests.practice_server import KEYS, PATIENCE, serving


@pytest.fixture
def provider() -> Iterator[str]:
    with serving(make_provider(KEYS, chunk_delay=0.0)) as url:
        yield url


def openai_client(url: str, key: str = KEYS["openai"]) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=PATIENCE)


def test_openai_sdk_reads_a_plain_chat_answer(provider: str) -> None:
    with openai_client(provider) as client:
        answer = client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Why?"}])
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, answer.model) == (SENTENCE, "stop", "gpt-5-mini")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(SENTENCE.split())
    assert (answer._request_id or "").startswith("req_")


def test_sdk_streams_chat_word_by_word(provider: str) -> None:
    """OpenAI's SDK reads a streamed chat completion word by word."""
    with (
        openai_client(provider) as client,
        client.chat.completions.create(
            model="gpt-5-mini",
            messages=[{"role": "user", "content": "Why?"}],
            stream=True,
            stream_options={"include_usage": True},
        ) as stream,
    ):
        chunks = list(stream)
    words = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert "".join(words) == SENTENCE
    assert len(words) == len(SENTENCE.split())
    assert chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_openai_sdk_reads_a_plain_response(provider: str) -> None:
    with openai_client(provider) as client:
        answer = client.responses.create(model="gpt-5-mini", input="Why?")
    assert (answer.output_text, answer.status) == (SENTENCE, "completed")


def test_sdk_accumulates_a_streamed_response(provider: str) -> None:
    """OpenAI's SDK accumulates a streamed response."""
    with openai_client(provider) as client, client.responses.stream(model="gpt-5-mini", input="Why?") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == SENTENCE
    assert kinds.count("response.output_text.delta") == len(SENTENCE.split())
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_a_response_cut_by_its_length_is_incomplete(provider: str) -> None:
    with openai_client(provider) as client:
        answer = client.responses.create(model="gpt-5-mini", input="Why?", max_output_tokens=2)
    assert (answer.output_text, answer.status) == ("A key", "incomplete")
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_openai_sdk_reads_embeddings_in_both_encodings(provider: str) -> None:
    with openai_client(provider) as client:
        packed = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=4)
        plain = client.embeddings.create(model="text-embedding-3-small", input="one", encoding_format="float")
    assert [item.embedding for item in packed.data] == [[0.5] * 4, [0.5] * 4]
    assert sum(x * x for x in plain.data[0].embedding) == pytest.approx(1.0)
    assert len(plain.data[0].embedding) == 1536


def test_openai_sdk_reads_the_models(provider: str) -> None:
    with openai_client(provider) as client:
        assert "gpt-5-mini" in [model.id for model in client.models.list()]
        assert client.models.retrieve("gpt-5-mini").owned_by == "openai"
        with pytest.raises(openai.NotFoundError) as refused:
            client.models.retrieve("gpt-none")
    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize("key", ["sk-wrong", KEYS["anthropic"], KEYS["generic"]])
def test_openai_sdk_refused_with_another_key(provider: str, key: str) -> None:
    """OpenAI's SDK gets an authentication error for any other key."""
    with openai_client(provider, key) as client, pytest.raises(openai.AuthenticationError) as refused:
        client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Why?"}])
    assert refused.value.code == "invalid_api_key"
    assert key not in str(refused.value)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_stream_has_as_many_words_as_asked_for(provider: str, field: str) -> None:
    asked = 3 * len(SENTENCE.split())
    with openai_client(provider) as client:
        stream = client.chat.completions.create(
            model="gpt-5-mini",
            messages=[{"role": "user", "content": "Why?"}],
            stream=True,
            extra_body={field: asked},
        )
        with stream:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == " ".join([SENTENCE] * 3)
