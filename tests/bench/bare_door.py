"""The least that a streaming door in aiohttp can do: put the key on and pass everything else, without a question."""

from __future__ import annotations

import asyncio
import socket

from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

_OF_ONE_HOP = {"host", "authorization", "connection", "transfer-encoding", "keep-alive"}


async def _pass(request: web.BaseRequest, session: ClientSession, provider: str, key: str) -> web.StreamResponse:
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP]
    headers.append(("Authorization", f"Bearer {key}"))
    body = request.content if request.body_exists else None
    async with session.request(request.method, provider + request.raw_path, headers=headers, data=body) as upstream:
        passed = [(name, value) for name, value in upstream.headers.items() if name.lower() not in _OF_ONE_HOP]
        response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=passed)
        await response.prepare(request)
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def serve(listening: socket.socket, provider: str, key: str) -> None:
    """Serve until cancelled."""
    async with ClientSession(
        connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar(), auto_decompress=False
    ) as session:
        server = web.Server(lambda request: _pass(request, session, provider, key), access_log=None)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.SockSite(runner, listening, backlog=1024).start()
        await asyncio.Event().wait()
