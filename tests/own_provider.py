"""A provider of a test's own: it does what a call's `X-Act` says, and knows which calls it has had and which run."""

from __future__ import annotations

import asyncio
import collections
import hashlib
import json
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

KEY = "sk-real-0123456789abcdef"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
"""What every answer of a model says that it took."""
_ANSWER = {"id": "a1", "object": "chat.completion", "model": "gpt-5-mini", "choices": []}
_EVENT = b'data: {"id":"a1","object":"chat.completion.chunk","model":"gpt-5-mini","choices":[]}\n\n'
_LAST = f"data: {json.dumps({**_ANSWER, 'usage': USAGE})}\n\ndata: [DONE]\n\n".encode()


@dataclass
class OwnProvider:
    """seen: how many calls came whole or in part, by `X-Act`. open: the calls under way, by the same.

    stolen: calls that came without the key, or with anything that is not. Acts: "" answers at once; `sse` with five events,
    `wait` with one event, and the rest once `go` is set; `silent` waits for `go` before its head; `digest` answers what was
    uploaded; `reset-early`, `reset-head` and `reset-late` break off before the head, in it, and in the body.
    """

    seen: collections.Counter[str] = field(default_factory=collections.Counter)
    open: collections.Counter[str] = field(default_factory=collections.Counter)
    stolen: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> web.Application:
        """Return what serves."""
        made = web.Application(client_max_size=1 << 30)
        made.router.add_route("*", "/{path:.*}", self._serve)
        return made

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        act = request.headers.get("X-Act", "")
        self.stolen += request.headers.get("Authorization") != f"Bearer {KEY}"
        self.seen[act] += 1
        self.open[act] += 1
        try:
            if "Upgrade" in request.headers:
                return await self._echo(request)
            return await self._answer(request, act)
        finally:
            self.open[act] -= 1

    async def _answer(self, request: web.Request, act: str) -> web.StreamResponse:
        if act == "reset-early":
            return _abort(request)
        digest = hashlib.sha256()
        async for chunk in request.content.iter_any():
            digest.update(chunk)
        if act == "silent":
            await self.go.wait()
        if act.startswith("reset"):
            return await _break_off(request, act)
        if act in {"sse", "wait"}:
            return await self._stream(request, act)
        said = {"digest": digest.hexdigest()} if act == "digest" else {}
        return web.json_response({**_ANSWER, "usage": USAGE, **said})

    async def _stream(self, request: web.Request, act: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(_EVENT)
        if act == "wait":
            await self.go.wait()
        for _ in range(4):
            await response.write(_EVENT)
        await response.write(_LAST)
        return response

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _break_off(request: web.Request, act: str) -> web.Response:
    if request.transport is not None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        request.transport.write(head if act == "reset-head" else head + b'Content-Length: 99\r\n\r\n{"id":')
        await asyncio.sleep(0)
    return _abort(request)
