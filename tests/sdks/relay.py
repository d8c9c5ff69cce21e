"""A relay between a client and the edge that counts: which requests came, where the token was, how they were answered."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

_ONE_HOP = ("connection", "content-length", "host", "keep-alive", "transfer-encoding")
_PLACES = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it passed. token_in: the headers that may hold a token and were there."""

    method: str
    path: str
    status: int
    token_in: tuple[str, ...]


@dataclass(slots=True)
class Relay:
    """What passes on to `target`, an edge's URL, and what has passed so far."""

    target: str
    seen: list[Seen] = field(default_factory=list)

    def app(self) -> web.Application:
        """Return what is to be served."""
        app = web.Application(client_max_size=_LIMIT)
        app.router.add_route("*", "/{anything:.*}", self._pass)
        return app

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _ONE_HOP]
        timeout = aiohttp.ClientTimeout(total=60)
        async with (
            aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session,
            session.request(
                request.method,
                self.target + request.raw_path,
                data=await request.read() or None,
                headers=headers,
                skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
                allow_redirects=False,
            ) as answer,
        ):
            places = tuple(name for name in _PLACES if name in request.headers)
            self.seen.append(Seen(request.method, request.path, answer.status, places))
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _ONE_HOP]
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(kept)
            with contextlib.suppress(ConnectionResetError):  # some clients hang up once they have read what they want
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
            return response
