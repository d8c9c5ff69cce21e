"""What users of unmodified SDKs see when the edge says no, and how often their SDK asks again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from aiohttp import web

import edge
from chalicelib.errors import StateUnavailable
from local.practice.provider import make_provider
from local.simulator.cloudfront import make_distribution, make_runner
from tests.edge_function import policy_for
from tests.parts import NOW, SUB, Parts, parts_in
from tests.practice_server import PATIENCE, serving

SDKS = ("openai", "anthropic")
KEYS = {name: f"key-of-{name}" for name in SDKS}
SCOPES = {
    "openai": ("POST:/v1/chat/completions", "GET:/v1/models"),
    "anthropic": ("POST:/v1/messages", "GET:/v1/models"),
}
HELLO: Any = [{"role": "user", "content": "hello"}]


@dataclass
class Stage:
    """An edge before a practice provider, for users of one SDK. now: the edge's time; called: how often it was asked."""

    sdk: str
    parts: Parts
    token: str = ""
    url: str = ""
    now: Callable[[int], int] = lambda _called: NOW
    called: int = 0
    down: int = 0
    sent: list[str] = field(default_factory=list)

    def handle(self, event: Mapping[str, Any], context: object) -> dict[str, Any]:
        """The edge function, which is down for its first `down` calls."""
        self.called += 1

        def ports() -> edge.Ports:
            if self.called <= self.down:
                raise StateUnavailable
            return self.parts.edge_ports([], self.now(self.called))

        return edge.make_handler(ports)(event, context)

    def client(self, token: str | None = None, path: str | None = None) -> openai.OpenAI | anthropic.Anthropic:
        """The SDK's client with nothing changed but base URL and key, and a tap on what it sends."""
        sdk: Any = openai if self.sdk == "openai" else anthropic
        base = f"/{self.sdk}/v1" if self.sdk == "openai" else f"/{self.sdk}"
        hooks = {"request": [lambda request: self.sent.append(str(request.url))]}
        client: openai.OpenAI | anthropic.Anthropic = (openai.OpenAI if self.sdk == "openai" else anthropic.Anthropic)(
            base_url=self.url + (base if path is None else path),
            api_key=self.token if token is None else token,
            http_client=sdk.DefaultHttpxClient(event_hooks=hooks),
            timeout=PATIENCE,
        )
        return client

    def ask(self, client: openai.OpenAI | anthropic.Anthropic, **headers: str) -> str:
        """Ask for a completion and return its text."""
        if isinstance(client, openai.OpenAI):
            done = client.chat.completions.create(model="gpt-5-mini", messages=HELLO, extra_headers=headers)
            return done.choices[0].message.content or ""
        message = client.messages.create(
            model="claude-sonnet-4-6", max_tokens=64, messages=HELLO, extra_headers=headers
        )
        return getattr(message.content[0], "text", "")

    def refused(self, client: openai.OpenAI | anthropic.Anthropic, **headers: str) -> Any:  # noqa: ANN401  an SDK's error
        """Ask, and return the error that the SDK raises."""
        with client, pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
            self.ask(client, **headers)
        return caught.value


@contextlib.contextmanager
def served(stage: Stage) -> Iterator[None]:
    """Serve the edge on a loop in a thread of its own."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = Future()

    async def serve() -> None:
        distribution = make_distribution(stage.handle)
        runner = make_runner(distribution, grace=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop, f"http://127.0.0.1:{runner.addresses[0][1]}"))
        await stop.wait()
        await runner.cleanup()
        await distribution.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, stop, stage.url = started.result(PATIENCE)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)


@pytest.fixture(params=SDKS)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    sdk = str(request.param)
    with parts_in(tmp_path) as parts, serving(make_provider(KEYS, chunk_delay=0.0)) as provider:
        parts.apply(policy_for(sdk, *SCOPES[sdk]))
        parts.set_key(sdk, KEYS[sdk], origin=provider.replace("127.0.0.1", "localhost"))
        one = Stage(sdk, parts, parts.exchange(audience=sdk).access_token)
        with served(one):
            yield one


def limit(stage: Stage, calls: str) -> None:
    """Limit the calls of the grant."""
    stage.parts.apply(policy_for(stage.sdk, *SCOPES[stage.sdk]).replace("[1000000/minute]", calls))


def test_only_base_url_and_key_change(stage: Stage) -> None:
    """An SDK needs another base URL and key, and nothing else."""
    with stage.client() as client:
        assert stage.ask(client).startswith("A key that lives for minutes")
    assert len(stage.sent) == 1


def test_401_is_not_retried(stage: Stage) -> None:
    """A 401 says what to do, and no SDK retries it."""
    stage.now = lambda _called: NOW + 931
    error = stage.refused(stage.client())
    assert isinstance(error, openai.AuthenticationError | anthropic.AuthenticationError)
    assert "the token has expired; get a fresh one" in str(error)
    assert len(stage.sent) == 1


def test_403_is_not_retried(stage: Stage) -> None:
    """A 403 says that access is revoked, and no SDK retries it."""
    stage.parts.revoke("principal", SUB)
    error = stage.refused(stage.client())
    assert isinstance(error, openai.PermissionDeniedError | anthropic.PermissionDeniedError)
    assert "access is revoked (principal)" in str(error)
    assert len(stage.sent) == 1


def test_wrong_base_url_is_not_retried(stage: Stage) -> None:
    """A base URL without the key's name is explained, and no SDK retries it."""
    # `/models` names no key; in `/v1/models`, `v1` could be one.
    kind = {"openai": openai.NotFoundError, "anthropic": anthropic.AuthenticationError}[stage.sdk]
    with stage.client(path="") as client, pytest.raises(kind, match="use the base_url that came with the token"):
        client.models.list()
    assert len(stage.sent) == 1


def test_413_is_not_retried(stage: Stage) -> None:
    """A 413 says what is too large, and no SDK retries it."""
    error = stage.refused(stage.client(), **{"x-large": "a" * 20_000})
    assert error.status_code == 413
    assert "over 20,480" in str(error)
    assert (len(stage.sent), stage.called) == (1, 0)


@pytest.mark.slow
def test_short_429_is_retried(stage: Stage) -> None:
    """An SDK waits for a quota that opens soon, and then succeeds."""
    limit(stage, "1/minute")
    stage.now = lambda called: NOW + (59 if called < 3 else 60)
    with stage.client() as client:
        assert stage.ask(client)
        assert stage.ask(client)
    assert len(stage.sent) == 3, "the second was refused for a second, waited for it, and was asked again"


def test_long_429_is_not_retried(stage: Stage) -> None:
    """A 429 whose quota opens late says when, and no SDK retries it."""
    limit(stage, "1/day")
    with stage.client() as client:
        assert stage.ask(client)
    error = stage.refused(stage.client())
    assert isinstance(error, openai.RateLimitError | anthropic.RateLimitError)
    assert "the quota of 1/day calls of yours is used up; the window ends in 16 h" in str(error)
    assert error.response.headers["retry-after"] == "57600"
    assert error.response.headers["ratelimit"] == '"day";r=0;t=57600'
    assert len(stage.sent) == 2


@pytest.mark.slow
def test_503_is_retried(stage: Stage) -> None:
    """An SDK retries a 503, and its user notices nothing where that helps."""
    stage.down = 1
    with stage.client() as client:
        assert stage.ask(client)
    assert len(stage.sent) == 2


@pytest.mark.slow
def test_503_that_stays(stage: Stage) -> None:
    """A 503 that stays says that the broker, not the caller, is at fault."""
    stage.down = 99
    error = stage.refused(stage.client())
    assert isinstance(error, openai.InternalServerError | anthropic.InternalServerError)
    assert "the broker cannot decide just now; try again" in str(error)
    assert len(stage.sent) == 3


def test_error_shows_the_request_id(stage: Stage) -> None:
    """An SDK's error shows the request id of the log line."""
    error = stage.refused(stage.client("made-up"))
    assert error.request_id
    assert f"(request {error.request_id})" in str(error)
