"""What the responses on a WebSocket took is counted one by one, and what cannot be known is said to be unknown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge.call import Admitted
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.providers.keys import ProviderKey
from chalicelib.usage import Answered, ModelUse, NotAdded
from local.simulator.answer_document import WHOLE
from local.simulator.answer_tally import AnswerTally
from local.simulator.web_socket_usage import WebSocketUsage
from tests.parts import NOW, Parts, grant, parts_in
from tests.web_socket_door import PATH, Here, during

KEY = ProviderKey("v1", "https://api.example.com", "authorization", "Bearer ", "made-up")
SESSION = {"type": "session.created", "session": {"model": "gpt-realtime-2025-08-28", "tools": []}}
BEGINS = {"type": "response.created", "response": {"status": "in_progress", "usage": None}}
DELTA = {"type": "response.output_audio.delta", "delta": "UklGRg" * 40}
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
DONE = {"type": "response.done", "response": {"status": "completed", "output": [{"type": "message"}], "usage": USAGE}}
HEARD = {
    "type": "conversation.item.input_audio_transcription.completed",
    "transcript": 'he said "usage": {}',
    "usage": {"type": "tokens", "input_tokens": 22, "output_tokens": 13},
}
USED = TokenUse("gpt-realtime-2025-08-28", 132, 121, 64)


def frame(event: object) -> bytes:
    payload = event if isinstance(event, bytes) else json.dumps(event).encode()
    return b"\x81\x7f" + len(payload).to_bytes(8) + payload


def noted(
    *events: object, provider: str = "openai", query: str = "model=gpt-realtime", extensions: str = ""
) -> list[TokenUse | None]:
    """What is counted of a WebSocket on which these events come."""
    found: list[TokenUse | None] = []
    admitted = Admitted(KEY, "sub", "app", "jti", path=PATH, query=query, provider=provider)
    with WebSocketUsage(admitted, extensions, found.append) as feed:
        for event in events:
            feed(frame(event))
    return found


def test_each_response_is_counted() -> None:
    """Every end of a response says what it took, and the session which model."""
    assert noted(SESSION, BEGINS, DELTA, DONE, BEGINS, DELTA, DONE) == [USED, USED]


@pytest.mark.parametrize("provider", ["openai", "azure-openai", "xai"])
@pytest.mark.parametrize(
    "query", ["model=gpt-realtime", "api-version=1&deployment=gpt-realtime", "model=gpt%2Drealtime"]
)
def test_the_handshake_names_the_model(provider: str, query: str) -> None:
    """Where the session does not say it, the handshake's query does."""
    assert noted(BEGINS, DONE, provider=provider, query=query) == [TokenUse("gpt-realtime", 132, 121, 64)]


def test_a_transcription_is_another_model_s() -> None:
    """What was written down is counted without a name, for it is not the session's model that does it."""
    assert noted(SESSION, HEARD) == [TokenUse("", 22, 13, 0)]


def test_responses_on_a_web_socket() -> None:
    """The Responses API says it with other events, and each names its model."""
    usage = {"input_tokens": 36, "output_tokens": 87, "input_tokens_details": {"cached_tokens": 10}}
    ends = [
        {"type": f"response.{end}", "response": {"model": "gpt-5-mini", "usage": usage}}
        for end in ("completed", "incomplete", "failed")
    ]
    assert noted(*ends) == [TokenUse("gpt-5-mini", 36, 87, 10)] * 3


def test_a_long_end_is_read_at_its_ends() -> None:
    """An end of a response that is longer than what is held says it all the same."""
    output = [{"type": "message", "content": "k" * 3 * WHOLE}]
    long = {**DONE, "response": {"status": "completed", "output": output, "usage": USAGE}}
    assert noted(SESSION, BEGINS, long) == [USED]


@pytest.mark.parametrize(
    "event",
    [
        {
            "type": "session.updated",
            "session": {"tools": [{"parameters": {"properties": {"usage": {"type": "object"}}}}]},
        },
        {"type": "rate_limits.updated", "usage": {"input_tokens": 5}},
        {"usage": {"input_tokens": 5}},
        {"type": ["response.done"], "usage": {"input_tokens": 5}},
        [{"type": "response.done", "usage": {"input_tokens": 5}}],
        {"type": "response.output_text.delta", "delta": '"response.created" "usage": {"input_tokens": 5}'},
    ],
)
def test_other_events_say_nothing(event: object) -> None:
    """What speaks of usage and ends no response is not counted, and leaves nothing unknown."""
    assert noted(SESSION, event, BEGINS, DONE) == [USED]


@pytest.mark.parametrize("number", [-1, 10**30, "7", True, 1.5e300])
def test_an_absurd_number_is_unknown(number: object) -> None:
    """A response that says what none can take is counted, and what it took is not known."""
    assert noted(SESSION, BEGINS, {**DONE, "response": {"usage": {**USAGE, "output_tokens": number}}}) == [None]


@pytest.mark.parametrize(
    ("events", "extensions"),
    [
        ([SESSION, BEGINS, DELTA], ""),
        ([SESSION, BEGINS, {**DONE, "response": {"status": "failed", "usage": None}}], ""),
        ([SESSION, b"[" * 60_000 + b'"usage": {', BEGINS, DONE], ""),
        ([SESSION, b'"usage": {', DONE], ""),
        ([DONE], "x-own-extension"),
    ],
    ids=["hung-up", "failed", "deep", "malformed", "extension"],
)
def test_what_is_not_known_is_counted_once(events: list[Any], extensions: str) -> None:
    """A response that is cut short, and all that follows what cannot be read, is one whose usage is unknown."""
    assert noted(*events, extensions=extensions) == [None]


def test_events_of_another_provider_are_unknown() -> None:
    """Where it is not known how a provider says it, nothing is made up; and where nothing was said, nothing is unknown."""
    assert noted({"usageMetadata": {"promptTokenCount": 5}}, provider="gemini") == [None]
    assert noted(provider="gemini") == []
    assert noted(SESSION) == []


@given(
    events=st.lists(
        st.binary(max_size=50) | st.sampled_from([b'{"usage": {}}', b'{"type": "response.done", "usage": {"a": 1}}'])
    ),
    query=st.text(max_size=50),
    extensions=st.sampled_from(["", "permessage-deflate", "x"]),
)
def test_nothing_that_is_said_raises(events: list[bytes], query: str, extensions: str) -> None:
    """Whatever a handshake's query and a provider's messages hold, at most one more is unknown for each."""
    assert len(noted(*events, query=query, extensions=extensions)) <= len(events) + 1


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(scope=f'["WEBSOCKET:{PATH}"]'))
        yield made


class Store:
    """A store that says what was added."""

    def __init__(self) -> None:
        self.added: list[Answered] = []

    def add(self, answered: Collection[Answered]) -> NotAdded:
        """See `AnswerUsage.add`."""
        self.added += answered
        return NotAdded()


@pytest.mark.parametrize("compress", [0, 15])
def test_a_web_socket_is_counted_and_goes_on_as_it_is(parts: Parts, compress: int) -> None:
    """What its responses took is counted by key, grant, principal and model, compressed or not, and every text passes."""
    token, tally, store = parts.token(), AnswerTally(lambda: NOW), Store()

    async def act(here: Here) -> None:
        keeping = asyncio.create_task(tally.keep(lambda: store))
        await asyncio.sleep(0)
        async with here.connect(token, f"{PATH}?model=gpt-realtime", compress=compress) as socket:
            assert socket.compress == compress
            for event in (SESSION, BEGINS, DELTA, {"type": "large", "text": "k" * 200_000}, DONE) * 2:
                await socket.send_json(event)
                got = await socket.receive()
                assert (got.type, json.loads(got.data)) == (WSMsgType.TEXT, event)
        await here.until(lambda: not here.provider.open)
        keeping.cancel()
        await asyncio.wait([keeping])

    during(parts, act, tally)
    (row,) = store.added
    assert (row.grant, row.key, row.use) == ("app", "openai", ModelUse(USED.model, 2, 0, 264, 242, 128))
