"""The practice provider: it responds like OpenAI's and Anthropic's APIs and records the credentials that it receives.

It has no real secrets. It must refuse every key but the configured one, stream without buffering, and report what it
received, so that a test or the demo can check that the edge replaced the token.
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
from local.practice import openai_admin, openrouter_admin
from local.practice.completions import Completion, InvalidBodyError, Json, ServerEvent, complete_body
from local.practice.federation import parties
from local.practice.federation.endpoint import TokenEndpoint
from local.practice.key_account import KeyAccount

_MAX_JSON_BYTES = 32 * 1024 * 1024
_MAX_SEEN = 200

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Api(Protocol):
    """The functions of both providers' modules."""

    def error_body(self, status: int, message: str, request_id: str) -> Json: ...
    def model_list(self) -> Json: ...
    def model(self, name: str) -> Json | None: ...


@dataclass(slots=True)
class _State:
    """What the provider knows.

    keys: by provider preset, the accepted key
    accounts: by provider preset, where further keys are made by its API
    federated: by provider preset, where credentials are minted
    chunk_delay: seconds after each streamed word
    seen: the last requests
    open: streams that are being sent
    chunks_sent: events sent in all streams
    """

    keys: Mapping[str, str]
    chunk_delay: float
    accounts: Mapping[str, KeyAccount]
    federated: Mapping[str, TokenEndpoint]
    seen: deque[Json] = field(default_factory=lambda: deque(maxlen=_MAX_SEEN))
    open: int = 0
    chunks_sent: int = 0


class _Endpoint(NamedTuple):
    """An endpoint that completes a text: whose it is, and the two forms of its completion."""

    provider: str
    plain: Callable[[Completion], Json]
    events: Callable[[Completion], Iterator[ServerEvent]]


_STATE = web.AppKey("state", _State)
_REQUEST_ID = web.RequestKey("request_id", str)
_APIS: Mapping[str, _Api] = MappingProxyType({"openai": practice_openai, "anthropic": practice_anthropic})
_COMPLETIONS = MappingProxyType(
    {
        "/chat/completions": _Endpoint("openai", practice_openai.chat, practice_openai.chat_events),
        "/responses": _Endpoint("openai", practice_openai.response, practice_openai.response_events),
    }
)
_MESSAGES = _Endpoint("anthropic", practice_anthropic.message, practice_anthropic.message_events)
_OPENAI_BASES = {base for one in PROVIDERS.values() for base in one.openai_bases()}
"""The base paths of providers with an OpenAI-compatible API."""
_COMPATIBLE = MappingProxyType(
    {
        "openai": frozenset(name for name, one in PROVIDERS.items() if one.openai_bases()),
        "anthropic": frozenset({"anthropic"}),
    }
)
"""By API, the provider presets whose keys it accepts."""


def make_provider(
    keys: Mapping[str, str],
    *,
    chunk_delay: float = 0.02,
    accounts: Mapping[str, KeyAccount] | None = None,
    federated: Mapping[str, TokenEndpoint] = MappingProxyType({}),
) -> web.Application:
    """Make the practice provider.

    keys: by provider preset, the one accepted key, at the provider's own paths if its API is OpenAI-compatible; without an
        entry, no key is accepted
    chunk_delay: seconds after each streamed word
    accounts: by `openai` and `openrouter`, the accounts whose keys are made by the API that it has for that
    federated: by provider preset, the endpoints that mint credentials, which it accepts then
    Paths that start with `/_` need no key: `GET /_seen` lists the last 200 requests (method, path, query, headers with
    lower-case names; keys are shown on purpose), `DELETE /_seen` clears the list, `GET /_open` returns the number of streams
    that are being sent and of all events sent so far.
    Raises `ValueError` if a key is empty, since an empty header would then be accepted.
    """
    if not all(keys.values()):
        raise ValueError("a practice key is empty")
    app = web.Application(client_max_size=_MAX_JSON_BYTES, middlewares=[_remember])
    accounts = accounts or {"openai": KeyAccount(), "openrouter": KeyAccount()}
    app[_STATE] = _State(dict(keys), chunk_delay, accounts, federated)
    app.on_response_prepare.append(_name_request)
    app.router.add_get("/_seen", _seen)
    app.router.add_delete("/_seen", _forget_seen)
    app.router.add_get("/_open", _open)
    openai_admin.add_routes(app, accounts["openai"])
    openrouter_admin.add_routes(app, accounts["openrouter"])
    parties.add_routes(app, federated)
    app.router.add_post("/v1/messages", _handler(_MESSAGES))
    for base in _OPENAI_BASES:
        for path, completion in _COMPLETIONS.items():
            app.router.add_post(base + path, _handler(completion))
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
        request.app[_STATE].seen.append({"method": request.method, "path": path, "query": query, "headers": headers})
    return await handler(request)


async def _name_request(request: web.Request, response: web.StreamResponse) -> None:
    # OpenAI's SDK reads the first of these, Anthropic's the second.
    response.headers["x-request-id"] = response.headers["request-id"] = request[_REQUEST_ID]


async def _seen(request: web.Request) -> web.Response:
    return web.json_response({"seen": list(request.app[_STATE].seen)})


async def _forget_seen(request: web.Request) -> web.Response:
    request.app[_STATE].seen.clear()
    return web.json_response({"seen": []})


async def _open(request: web.Request) -> web.Response:
    state = request.app[_STATE]
    return web.json_response({"open": state.open, "chunks_sent": state.chunks_sent})


def _handler(endpoint: _Endpoint) -> _Handler:
    async def complete(request: web.Request) -> web.StreamResponse:
        if not _is_admitted(request, endpoint.provider):
            return _error(request, endpoint.provider, 401)
        try:
            body = await _json_body(request)
            completion = complete_body(body, now=int(time.time()), new_id=uuid.uuid4().hex)
        except InvalidBodyError as error:
            return _error(request, endpoint.provider, 400, str(error))
        if body.get("stream") is True:
            return await _stream(request, endpoint.events(completion))
        return web.json_response(endpoint.plain(completion))

    return complete


async def _stream(request: web.Request, events: Iterator[ServerEvent]) -> web.StreamResponse:
    state = request.app[_STATE]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    state.open += 1
    try:
        await response.prepare(request)
        for event in events:
            await response.write(event.wire)
            state.chunks_sent += 1
            if event.is_word:
                await asyncio.sleep(state.chunk_delay)
    except ConnectionResetError:
        pass  # The caller hung up; `open` is decremented below.
    finally:
        state.open -= 1
    return response


async def _embeddings(request: web.Request) -> web.Response:
    if not _is_admitted(request, "openai"):
        return _error(request, "openai", 401)
    try:
        return web.json_response(practice_openai.embeddings(await _json_body(request)))
    except InvalidBodyError as fault:
        return _error(request, "openai", 400, str(fault))


async def _models(request: web.Request) -> web.Response:
    provider = _requested_provider(request)
    if not _is_admitted(request, provider):
        return _error(request, provider, 401)
    return web.json_response(_APIS[provider].model_list())


async def _model(request: web.Request) -> web.Response:
    provider, name = _requested_provider(request), request.match_info["name"]
    if not _is_admitted(request, provider):
        return _error(request, provider, 401)
    found = _APIS[provider].model(name)
    return web.json_response(found) if found else _error(request, provider, 404, f"there is no model {name!r} here")


async def _echo(request: web.Request) -> web.Response:
    if request.path.startswith("/_"):
        return web.json_response({"error": "no such page; there are /_seen and /_open"}, status=404)
    if not _presents_a_key(request):
        return _error(request, "openai", 401)
    body_bytes = 0
    async for piece in request.content.iter_any():  # counted as it arrives, never buffered
        body_bytes += len(piece)
    path, _, query = request.raw_path.partition("?")
    return web.json_response({"method": request.method, "path": path, "query": query, "body_bytes": body_bytes})


def _requested_provider(request: web.Request) -> str:
    # Both APIs list models at the same path; only Anthropic's callers send one of these headers.
    return "anthropic" if {"x-api-key", "anthropic-version"} & {name.lower() for name in request.headers} else "openai"


def _is_admitted(request: web.Request, provider: str) -> bool:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    presented = {bearer.strip()} if scheme.lower() == "bearer" else set()
    # Anthropic accepts both; its SDK 2.x also sends an API key as a bearer token. Azure and Google have their own headers.
    others = ("x-api-key",) if provider == "anthropic" else ("api-key", "x-goog-api-key")
    presented |= {request.headers.get(name, "") for name in others}
    state = request.app[_STATE]
    # Two different keys are refused even if one is correct: any other credential should not have been sent here.
    found = presented - {""}
    if len(found) != 1:
        return False
    known = {value for name, value in state.keys.items() if name in _COMPATIBLE[provider]}
    made = [one for name, one in state.accounts.items() if name in _COMPATIBLE[provider]]
    return found <= known or any(one.accepts(min(found)) for one in made) or _is_minted(request, provider, min(found))


def _is_minted(request: web.Request, provider: str, value: str) -> bool:
    """Whether a call has a credential that was minted here, in the form in which it is taken."""
    flags = [flag.strip() for flag in ",".join(request.headers.getall("anthropic-beta", [])).split(",")]
    if provider == "anthropic" and "oauth-2025-04-20" not in flags:
        return False
    minted = [one.minted for name, one in request.app[_STATE].federated.items() if name in _COMPATIBLE[provider]]
    has_bearer = request.headers.get("Authorization", "") == f"Bearer {value}"
    return has_bearer and any(one.accepts(value, time.time()) for one in minted)


def _presents_a_key(request: web.Request) -> bool:
    # A generic key may be in any header, with or without a scheme, or in the query.
    values = [*request.headers.values(), *request.query.values()]
    presented = {part for value in values for part in (value, value.rpartition(" ")[2])}
    state = request.app[_STATE]
    known = not presented.isdisjoint(state.keys.values())
    if any(one.minted.accepts(value, time.time()) for one in state.federated.values() for value in presented):
        return True
    return known or any(one.accepts(value) for one in state.accounts.values() for value in presented)


def _error(
    request: web.Request, provider: str, status: int, message: str = "Incorrect API key provided."
) -> web.Response:
    return web.json_response(_APIS[provider].error_body(status, message, request[_REQUEST_ID]), status=status)


async def _json_body(request: web.Request) -> Json:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as fault:
        raise InvalidBodyError("the body is not JSON") from fault
    if not isinstance(body, dict):
        raise InvalidBodyError("the body is not a JSON object")
    return body
