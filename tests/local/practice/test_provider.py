import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import anthropic
import openai
import pytest

from local.practice.completions import MAX_WORDS, SENTENCE, complete_body
from local.practice.provider import make_provider
from tests.practice_server import KEYS, PATIENCE, serving

BEARER = {"Authorization": f"Bearer {KEYS['openai']}"}
HELLO = [{"role": "user", "content": "Why should a key be short-lived?"}]


@pytest.fixture
def provider() -> Iterator[str]:
    with serving(make_provider(KEYS, chunk_delay=0.0)) as url:
        yield url


@pytest.fixture
def slow_provider() -> Iterator[str]:
    with serving(make_provider(KEYS, chunk_delay=0.02)) as url:
        yield url


def openai_client(url: str, key: str = KEYS["openai"]) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=PATIENCE)


def anthropic_client(url: str, key: str = KEYS["anthropic"]) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=PATIENCE)


def call(
    url: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | Iterator[bytes] | None = None,
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def counts(url: str) -> tuple[int, int]:
    found = call(url, "GET", "/_open")[1]
    return int(str(found["open"])), int(str(found["chunks_sent"]))


def eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_models_for_an_x_api_key_are_anthropics(provider: str) -> None:
    """A caller with an x-api-key gets Anthropic's models."""
    status, body = call(provider, "GET", "/v1/models", headers={"x-api-key": KEYS["anthropic"]})
    assert (status, body["has_more"]) == (200, False)


def test_a_message_is_answered_for_an_x_api_key(provider: str) -> None:
    body = json.dumps({"model": "claude-sonnet-4-6", "messages": HELLO}).encode()
    status, message = call(provider, "POST", "/v1/messages", headers={"x-api-key": KEYS["anthropic"]}, body=body)
    assert (status, message["type"]) == (200, "message")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/messages"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/gpt-5-mini"),
        ("PUT", "/anything/else"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"x-api-key": ""}])
def test_no_endpoint_answers_without_the_real_key(
    provider: str, method: str, path: str, headers: dict[str, str]
) -> None:
    assert call(provider, method, path, headers=headers)[0] == 401


def test_second_key_is_refused(provider: str) -> None:
    """A second key beside the correct one is refused."""
    headers = {"x-api-key": KEYS["anthropic"], "Authorization": "Bearer something-else"}
    assert call(provider, "GET", "/v1/models", headers=headers)[0] == 401


def test_a_provider_without_a_key_refuses_everyone() -> None:
    with serving(make_provider({"generic": "real"})) as url:
        assert call(url, "GET", "/v1/models", headers={"Authorization": "Bearer real"})[0] == 401


def test_an_empty_key_is_no_key() -> None:
    with pytest.raises(ValueError, match="a practice key is empty"):
        make_provider({"openai": ""})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b"{}", "model: a name is required"),
        (b'{"model": "m", "max_tokens": 0}', f"max_tokens: a whole number from 1 to {MAX_WORDS} is required"),
        (b'{"model": "m", "max_tokens": true}', f"max_tokens: a whole number from 1 to {MAX_WORDS} is required"),
    ],
)
def test_invalid_body_is_refused(provider: str, body: bytes, said: str) -> None:
    """An invalid body is refused with the reason, in OpenAI's format."""
    status, answer = call(provider, "POST", "/v1/chat/completions", headers=BEARER, body=body)
    assert (status, answer["error"]) == (
        400,
        {"message": said, "type": "invalid_request_error", "param": None, "code": None},
    )


def test_stream_is_not_buffered(slow_provider: str) -> None:
    """The first word arrives before the last is sent."""
    with openai_client(slow_provider) as client:
        stream = client.chat.completions.create(
            model="gpt-5-mini",
            messages=[{"role": "user", "content": "Why?"}],
            stream=True,
            max_completion_tokens=20,
        )
        with stream:
            first = next(chunk for chunk in stream if chunk.choices[0].delta.content)
            then_open, then_sent = counts(slow_provider)
            rest = list(stream)
    assert first.choices[0].delta.content == "A"
    assert then_open == 1
    assert then_sent < 20
    assert len(rest) == 20  # 19 words and the end
    assert eventually(lambda: counts(slow_provider) == (0, 23))  # role, 20 words, end, [DONE]


def test_hang_up_ends_the_stream(slow_provider: str) -> None:
    """A caller that hangs up ends the stream long before its last word."""
    with anthropic_client(slow_provider) as client:
        stream = client.messages.create(
            model="claude-sonnet-4-6",
            max_tokens=MAX_WORDS,
            messages=[{"role": "user", "content": "Why?"}],
            stream=True,
        )
        with stream:
            next(iter(stream))
            assert counts(slow_provider)[0] == 1
    assert eventually(lambda: counts(slow_provider)[0] == 0)
    assert counts(slow_provider)[1] < MAX_WORDS


@pytest.mark.parametrize(
    "headers",
    [{"X-Internal-Key": KEYS["generic"]}, {"Authorization": f"Token {KEYS['generic']}"}, BEARER],
)
def test_other_paths_echo_the_request(provider: str, headers: dict[str, str]) -> None:
    """Any other path echoes the request, with a correct key in any header."""
    status, answer = call(provider, "PATCH", "/a%2Fb/../c?x=1&x=%20", headers=headers, body=b"12345")
    assert (status, answer) == (
        200,
        {"method": "PATCH", "path": "/a%2Fb/../c", "query": "x=1&x=%20", "body_bytes": 5},
    )


def test_another_method_on_a_known_path_is_echoed(provider: str) -> None:
    assert call(provider, "DELETE", "/v1/models/mine", headers=BEARER)[1]["method"] == "DELETE"


def test_echo_counts_a_large_chunked_body(provider: str) -> None:
    """An echo counts a chunked body that is larger than a JSON body may be."""
    piece, pieces = b"x" * (1 << 20), 33
    headers = {"x-key": KEYS["generic"], "Transfer-Encoding": "chunked"}
    body = (b"%x\r\n%s\r\n" % (len(part), part) for part in (*[piece] * pieces, b""))
    assert call(provider, "POST", "/upload", headers=headers, body=body)[1]["body_bytes"] == len(piece) * pieces


def test_seen_lists_requests(provider: str) -> None:
    """`/_seen` lists methods, paths and headers, the newest last."""
    call(provider, "GET", "/v1/models", headers={"X-Api-Key": "first"})
    call(provider, "POST", "/other?key=second", headers=BEARER)
    seen = call(provider, "GET", "/_seen")[1]["seen"]
    assert isinstance(seen, list)
    assert [(item["method"], item["path"], item["query"]) for item in seen] == [
        ("GET", "/v1/models", ""),
        ("POST", "/other", "key=second"),
    ]
    assert seen[0]["headers"]["x-api-key"] == "first"
    assert seen[1]["headers"]["authorization"] == BEARER["Authorization"]


def test_seen_is_forgotten_on_delete(provider: str) -> None:
    call(provider, "GET", "/v1/models")
    assert call(provider, "DELETE", "/_seen") == (200, {"seen": []})
    assert call(provider, "GET", "/_seen") == (200, {"seen": []})


def test_seen_keeps_the_last_two_hundred(provider: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(provider).netloc, timeout=PATIENCE)
    with contextlib.closing(connection):
        for number in range(205):
            connection.request("GET", f"/{number}")
            connection.getresponse().read()
    seen = call(provider, "GET", "/_seen")[1]["seen"]
    assert isinstance(seen, list)
    assert [item["path"] for item in seen] == [f"/{number}" for number in range(5, 205)]


def test_an_unknown_practice_page_is_not_found(provider: str) -> None:
    assert call(provider, "GET", "/_nothing")[0] == 404


def test_an_agent_gets_the_sentence_once() -> None:
    """A stream has as many words as were asked for, but a coding assistant's, which sends its tools, is the sentence once."""
    asked = {"model": "m", "stream": True, "max_tokens": 1000}
    assert len(complete_body(asked, now=0, new_id="i").words) == 1000
    agents = complete_body({**asked, "tools": [{"name": "Bash"}]}, now=0, new_id="i")
    assert (agents.text, agents.is_cut) == (SENTENCE, False)
