"""Grants that limit models, over real HTTP and with real SDKs."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import openai
import pytest

from tests.running import Answer, Running, call, start

MEBIBYTE = 1_048_576
POLICY = """\
keys:
  openai:    {provider: openai}
  anthropic: {provider: anthropic}
  internal:  {provider: generic}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  limited:
    key: openai
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions", "POST:/v1/responses", "POST:/v1/embeddings", "POST:/v1/audio/transcriptions",
            "POST:/v1/files", "GET:/v1/models", "GET:/v1/models/*"]
    models: [gpt-5-mini, "text-embedding-3-*", whisper-1]
    quota: {tokens: 1000/hour, calls: 100000/minute}
  claude:
    key: anthropic
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/messages"]
    models: [claude-sonnet-4-6]
    quota: {tokens: 1000/hour, calls: 100000/minute}
  inside:
    key: internal
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions"]
    models: [gpt-5-mini]
    quota: {tokens: 1000/hour, calls: 100000/minute}
  free:
    key: openai
    to: {issuer: practice, claims: {repository_owner_id: "7"}}
    scope: ["POST:/v1/chat/completions", "POST:/v1/files"]
    quota: {tokens: 1000/hour, calls: 100000/minute}
"""
_PROC = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="reads how much memory a process took from /proc"
)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start(policy=POLICY) as one:
        yield one


@pytest.fixture
def client(running: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=running.token("5101"), base_url=f"{running.edge}/openai/v1", max_retries=0) as one:
        yield one


def seen(running: Running) -> list[dict[str, Any]]:
    """What reached the provider since the last look."""
    found: list[dict[str, Any]] = call("GET", f"{running.provider}/_seen").json["seen"]
    call("DELETE", f"{running.provider}/_seen")
    return found


def refused(attempt: Callable[[], object]) -> str:
    """The text that a user of OpenAI's SDK reads when a call is refused with 403."""
    with pytest.raises(openai.PermissionDeniedError) as caught:
        attempt()
    return caught.value.message


HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def test_a_model_of_the_grant_answers_plain_and_streamed(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_completion_tokens=5)
    assert plain.model == "gpt-5-mini"
    stream = client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_completion_tokens=5, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == plain.choices[0].message.content
    assert client.responses.create(model="gpt-5-mini", input="hello").output_text


def test_another_model_is_refused_in_words_and_nothing_reaches_the_provider(
    running: Running, client: openai.OpenAI
) -> None:
    seen(running)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="gpt-5", messages=HELLO)
    assert caught.value.code == "model_not_allowed"
    assert caught.value.message.startswith("Error code: 403 - the grant does not allow the model 'gpt-5' (request ")
    for stream in (True, False):
        assert "'gpt-5'" in refused(lambda: client.responses.create(model="gpt-5", input="a", stream=stream))  # noqa: B023  called at once
    assert seen(running) == []


def test_embeddings_have_their_own_models(client: openai.OpenAI) -> None:
    assert client.embeddings.create(model="text-embedding-3-small", input=["a", "b"]).data[1].embedding
    assert "'text-embedding-ada-002'" in refused(
        lambda: client.embeddings.create(model="text-embedding-ada-002", input="a")
    )


def test_the_model_of_a_transcription_is_its_form_s(running: Running, client: openai.OpenAI) -> None:
    seen(running)
    file = ("speech.mp3", b"\x00\x01\r\n--model" * 1000, "audio/mpeg")
    text = refused(lambda: client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file))
    assert "'gpt-4o-transcribe'" in text
    assert seen(running) == []
    client.audio.transcriptions.create(model="whisper-1", file=file, prompt="model", timestamp_granularities=["word"])
    (one,) = seen(running)
    assert one["path"] == "/v1/audio/transcriptions"
    assert int(one["headers"]["content-length"]) > 11_000


def test_models_are_listed_and_only_those_of_the_grant_can_be_looked_at(client: openai.OpenAI) -> None:
    assert {"gpt-5", "gpt-5-mini"} <= {one.id for one in client.models.list()}
    assert client.models.retrieve("gpt-5-mini").id == "gpt-5-mini"
    assert "'gpt-5'" in refused(lambda: client.models.retrieve("gpt-5"))


def test_what_can_have_another_model_run_is_refused_by_name(client: openai.OpenAI) -> None:
    def respond(**more: Any) -> Callable[[], object]:  # noqa: ANN401  create's parameters
        return lambda: client.responses.create(model="gpt-5-mini", input="a", **more)

    assert "`previous_response_id`" in refused(respond(previous_response_id="resp_1"))
    assert "`prompt`" in refused(respond(prompt={"id": "pmpt_1"}))
    assert "`tools: image_generation`" in refused(respond(tools=[{"type": "image_generation"}]))
    assert "POST:/v1/files" in refused(lambda: client.files.create(file=b"a", purpose="batch"))


def test_anthropic_s_sdk_shows_the_same(running: Running) -> None:
    token = running.token("5102", audience="anthropic")
    with anthropic.Anthropic(api_key=token, base_url=f"{running.edge}/anthropic", max_retries=0) as client:
        assert client.messages.create(model="claude-sonnet-4-6", max_tokens=5, messages=HELLO).content
        with pytest.raises(
            anthropic.PermissionDeniedError, match="the grant does not allow the model 'claude-opus-4-8'"
        ):
            client.messages.create(model="claude-opus-4-8", max_tokens=5, messages=HELLO)


def test_a_generic_key_opens_nothing_under_models(running: Running) -> None:
    answer = running.complete(running.token("5103", audience="internal"), "/internal/v1/chat/completions")
    assert answer.status == 403
    assert "cannot be checked for this kind of key" in answer.json["error"]["message"]


def chat(running: Running, token: str, size: int) -> Answer:
    """Send a chat completion of exactly this many bytes."""
    body = json.dumps({"model": "gpt-5-mini", "max_tokens": 5, "messages": HELLO, "user": ""})
    body = body.replace('"user": ""', f'"user": "{"x" * (size - len(body))}"')
    assert len(body) == size
    return call(
        "POST", f"{running.edge}/openai/v1/chat/completions", body.encode(), {"authorization": f"Bearer {token}"}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "size", "status"),
    [("9919", MEBIBYTE, 200), ("9919", MEBIBYTE + 1, 413), ("9919", 2 * MEBIBYTE, 413), ("7", 2 * MEBIBYTE, 200)],
)
def test_a_body_is_read_up_to_one_mebibyte_where_a_grant_limits_models(
    running: Running, owner: str, size: int, status: int
) -> None:
    answer = chat(running, running.token("5104", owner=owner), size)
    assert answer.status == status
    if status == 413:
        assert "1 MiB" in answer.json["error"]["message"]
        assert answer.json["error"]["code"] == "invalid_request"


@_PROC
@pytest.mark.slow
def test_an_upload_of_100_megabytes_streams_without_being_held(running: Running) -> None:
    chunk, count = b"k" * MEBIBYTE, 100
    before = [_reset_peak(pid) for pid in _descendants(running.process.pid)]
    connection = http.client.HTTPConnection(urlsplit(running.edge).netloc, timeout=60)
    token = running.token("5105", owner="7")
    headers = {"authorization": f"Bearer {token}", "content-type": "application/octet-stream"}
    headers["content-length"] = str(count * len(chunk))
    connection.request("POST", "/openai/v1/files", (chunk for _ in range(count)), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["body_bytes"] == count * len(chunk)
    grown = [_kilobytes(pid, "VmHWM") - was for pid, was in before]
    assert max(grown) < 24_000, grown


def _descendants(pid: int) -> list[int]:
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [one for child in found for one in _descendants(child)]


def _kilobytes(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _reset_peak(pid: int) -> tuple[int, int]:
    """Forget the most memory that a process took so far; return how much it takes now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return pid, _kilobytes(pid, "VmRSS")
