"""A provider to practise on: it answers like OpenAI's and Anthropic's APIs and remembers which credentials it saw.

It holds no secret worth having. What it must get right is to refuse every key but the real one, to stream without
holding anything back, and to tell what reached it, so that a test or a demo can see that the swap took place.
"""

import asyncio
import json
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

from aiohttp import web

from chalicelib.providers.presets import PROVIDERS
from local.practice import anthropic as practice_anthropic
from local.practice import openai as practice_openai
from local.practice.completions import Answer, Json, ServerEvent, UnusableBodyError, answer_to

_MAX_JSON_BYTES = 32 * 1024 * 1024
_MAX_SEEN = 200

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Api(Protocol):
    """What both providers' modules offer."""

    def refusal(self, status: int, message: str, request_id: str) -> Json: ...
    def model_list(self) -> Json: ...
    def model(self, name: str) -> Json | None: ...


@dataclass(slots=True)
class _Watch:
    """What the provider has noticed since it started."""

    keys: Mapping[str, str]
    chunk_delay: float
    seen: deque[Json] = field(default_factory=lambda: deque(maxlen=_MAX_SEEN))
    open: int = 0
    chunks_sent: int = 0


class _Completion(NamedTuple):
    """An endpoint that completes a text: whose it is, and the two forms of its answer."""

    provider: str
    plain: Callable[[Answer], Json]
    events: Callable[[Answer], Iterator[ServerEvent]]


_WATCH = web.AppKey("watch", _Watch)
_REQUEST_ID = web.RequestKey("request_id", str)
_APIS: Mapping[str, _Api] = MappingProxyType({"openai": practice_openai, "anthropic": practice_anthropic})
_COMPLETIONS = MappingProxyType(
    {
        "/chat/completions": _Completion("openai", practice_openai.chat, practice_openai.chat_events),
        "/responses": _Completion("openai", practice_openai.response, practice_openai.response_events),
    }
)
_MESSAGES = _Completion("anthropic", practice_anthropic.message, practice_anthropic.message_events)
_OPENAI_BASES = ("/v1", "/openai/v1", "/api/v1", "", "/v1beta/openai", "/openai/deployments/{deployment}")
"""Where the providers that copy OpenAI's API have it."""
_SPEAKS = MappingProxyType(
    {
        "openai": frozenset(
            {name for name, one in PROVIDERS.items() if one.error_form == "openai"} | {"mistral", "gemini"}
        ),
        "anthropic": frozenset({"anthropic"}),
    }
)
"""Whose keys open which API."""


def make_provider(keys: Mapping[str, str], *, chunk_delay: float = 0.02) -> web.Application:
    """Make the practice provider.

    `keys` maps a provider preset to the one value that is accepted for it, at its own paths if it copies OpenAI's API; a
    preset that is left out accepts nothing. `chunk_delay` is the pause after each streamed word, in seconds.
    Paths that start with `/_` need no key: `GET /_seen` lists the last 200 requests (method, path, query, headers with
    lower-case names; keys are shown on purpose), `DELETE /_seen` forgets them, `GET /_open` tells how many streams are
    being sent right now and how many events have been sent in all.
    Raises `ValueError` if a key is empty, since an empty header would then open the API.
    """
    if not all(keys.values()):
        raise ValueError("a practice key is empty")
    app = web.Application(client_max_size=_MAX_JSON_BYTES, middlewares=[_remember])
    app[_WATCH] = _Watch(dict(keys), chunk_delay)
    app.on_response_prepare.append(_name_request)
    app.router.add_get("/_seen", _seen)
    app.router.add_delete("/_seen", _forget_seen)
    app.router.add_get("/_open", _open)
    app.router.add_post("/v1/messages", _completer(_MESSAGES))
    for base in _OPENAI_BASES:
        for path, completion in _COMPLETIONS.items():
            app.router.add_post(base + path, _completer(completion))
        app.router.add_post(base + "/embeddings", _embeddings)
        app.router.add_get(base + "/models", _models)
        app.router.add_get(base + "/models/{name}", _model)
    app.router.add_route("*", "/{anything:.*}", _echo)
    return app


@web.middleware
async def _remember(request: web.Request, handler: _Handler) -> web.StreamResponse:
    request[_REQUEST_ID] = f"req_{uuid.uuid4().hex}"
    if not request.path.startswith("/_"):
        path, _, query = request.raw_path.partition("?")  # as sent: a test compares it byte for byte
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known}, {value}"
        request.app[_WATCH].seen.append({"method": request.method, "path": path, "query": query, "headers": headers})
    return await handler(request)


async def _name_request(request: web.Request, response: web.StreamResponse) -> None:
    # OpenAI's SDK reads the first of these, Anthropic's the second.
    response.headers["x-request-id"] = response.headers["request-id"] = request[_REQUEST_ID]


async def _seen(request: web.Request) -> web.Response:
    return web.json_response({"seen": list(request.app[_WATCH].seen)})


async def _forget_seen(request: web.Request) -> web.Response:
    request.app[_WATCH].seen.clear()
    return web.json_response({"seen": []})


async def _open(request: web.Request) -> web.Response:
    watch = request.app[_WATCH]
    return web.json_response({"open": watch.open, "chunks_sent": watch.chunks_sent})


def _completer(completion: _Completion) -> _Handler:
    async def complete(request: web.Request) -> web.StreamResponse:
        if not _is_admitted(request, completion.provider):
            return _refusal(request, completion.provider, 401)
        try:
            body = await _json_body(request)
            answer = answer_to(body, now=int(time.time()), new_id=uuid.uuid4().hex)
        except UnusableBodyError as fault:
            return _refusal(request, completion.provider, 400, str(fault))
        if body.get("stream") is True:
            return await _stream(request, completion.events(answer))
        return web.json_response(completion.plain(answer))

    return complete


async def _stream(request: web.Request, events: Iterator[ServerEvent]) -> web.StreamResponse:
    watch = request.app[_WATCH]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    watch.open += 1
    try:
        await response.prepare(request)
        for event in events:
            await response.write(event.wire)
            watch.chunks_sent += 1
            if event.is_word:
                await asyncio.sleep(watch.chunk_delay)
    except ConnectionResetError:
        pass  # The caller hung up: nobody is left to tell, and `open` goes down below.
    finally:
        watch.open -= 1
    return response


async def _embeddings(request: web.Request) -> web.Response:
    if not _is_admitted(request, "openai"):
        return _refusal(request, "openai", 401)
    try:
        return web.json_response(practice_openai.embeddings(await _json_body(request)))
    except UnusableBodyError as fault:
        return _refusal(request, "openai", 400, str(fault))


async def _models(request: web.Request) -> web.Response:
    provider = _asked_provider(request)
    if not _is_admitted(request, provider):
        return _refusal(request, provider, 401)
    return web.json_response(_APIS[provider].model_list())


async def _model(request: web.Request) -> web.Response:
    provider, name = _asked_provider(request), request.match_info["name"]
    if not _is_admitted(request, provider):
        return _refusal(request, provider, 401)
    found = _APIS[provider].model(name)
    return web.json_response(found) if found else _refusal(request, provider, 404, f"there is no model {name!r} here")


async def _echo(request: web.Request) -> web.Response:
    if request.path.startswith("/_"):
        return web.json_response({"error": "no such practice page; there are /_seen and /_open"}, status=404)
    if not _presents_a_key(request):
        return _refusal(request, "openai", 401)
    body_bytes = 0
    async for piece in request.content.iter_any():  # counted as it comes in, never held
        body_bytes += len(piece)
    path, _, query = request.raw_path.partition("?")
    return web.json_response({"method": request.method, "path": path, "query": query, "body_bytes": body_bytes})


def _asked_provider(request: web.Request) -> str:
    # Both APIs have the same path for their models; only Anthropic's callers send one of these headers.
    return "anthropic" if {"x-api-key", "anthropic-version"} & {name.lower() for name in request.headers} else "openai"


def _is_admitted(request: web.Request, provider: str) -> bool:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    presented = {bearer.strip()} if scheme.lower() == "bearer" else set()
    # Anthropic takes both; its SDK 2.x sends an API key as a bearer token too. Azure and Google have headers of their own.
    others = ("x-api-key",) if provider == "anthropic" else ("api-key", "x-goog-api-key")
    presented |= {request.headers.get(name, "") for name in others}
    keys = request.app[_WATCH].keys
    # Two different keys are refused even if one is the real one: what else the caller holds has no business here.
    found = presented - {""}
    return len(found) == 1 and found <= {value for name, value in keys.items() if name in _SPEAKS[provider]}


def _presents_a_key(request: web.Request) -> bool:
    # A generic key may be set in any header, with or without a scheme before it, or in the query.
    values = [*request.headers.values(), *request.query.values()]
    presented = {part for value in values for part in (value, value.rpartition(" ")[2])}
    return not presented.isdisjoint(request.app[_WATCH].keys.values())


def _refusal(
    request: web.Request, provider: str, status: int, message: str = "Incorrect API key provided."
) -> web.Response:
    return web.json_response(_APIS[provider].refusal(status, message, request[_REQUEST_ID]), status=status)


async def _json_body(request: web.Request) -> Json:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as fault:
        raise UnusableBodyError("the body is not JSON") from fault
    if not isinstance(body, dict):
        raise UnusableBodyError("the body is not a JSON object")
    return body
