"""What callers and administrators do in a soak, one act at a time; each says whether it went as it must."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import json
import random
import struct
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from tests.own_provider import OwnProvider
from tests.own_server import POLICY, OwnServer, exchange, principal

PATH = "/openai/v1/chat/completions"
ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}
CUT_SECONDS = 3.0
"""Seconds within which a stream has to end once it is revoked, on a machine that is busy."""
BROKEN = (aiohttp.ClientError, ConnectionError)


class PutOffError(Exception):
    """A door asks for the same again, later: the state is busy."""


_NO_LINGER = struct.pack("ii", 1, 0)


class Acts:
    """All acts, over one client.

    issued: tokens that were given out. slowest_cut: seconds from a revocation to a stream's end. put_off: answers of 503 that
    asked to be repeated, by door.
    """

    def __init__(self, server: OwnServer, provider: OwnProvider, session: aiohttp.ClientSession) -> None:
        self.server, self.provider, self.session = server, provider, session
        self.random = random.Random(1)  # the same mix each time
        self.tokens: dict[str, str] = {}
        self.issued = self.revoked = self.applied = 0
        self.slowest_cut = 0.0
        self.put_off: collections.Counter[str] = collections.Counter()
        self._applying, self._numbers = asyncio.Lock(), iter(range(1 << 60))

    def table(self) -> dict[str, tuple[int, Callable[[], Awaitable[bool]]]]:
        """Return all acts by name, with how many of a thousand calls are of this kind."""
        return {
            "JSON": (600, self.json),
            "streams": (130, self.stream),
            "large bodies, models": (20, self.large),
            "WebSockets": (30, self.web_socket),
            "refusals": (90, self.refused),
            "hang-ups of callers": (40, self.hang_up),
            "resets of the provider": (30, self.reset),
            "token exchanges": (40, self.exchange),
            "revoked and restored": (8, self.revoke),
            "policy applied": (4, self.apply),
            "administrators read": (8, self.read),
        }

    async def fresh(self) -> None:
        """Get new tokens for what follows, and use up the calls of the one that has few."""
        number = next(self._numbers)
        for grant in ("ci", "modelled", "small"):
            self.tokens[grant] = await self._token(f"{grant}:shared-{number}")
        for _ in range(3):
            await self._status(self.tokens["small"])

    async def json(self) -> bool:
        """A call that is answered whole."""
        return await self._status(self.tokens["ci"]) == 200

    async def stream(self) -> bool:
        """A call that is answered as a stream."""
        async with self._post(self.tokens["ci"], "sse") as answer:
            self._check(answer, "edge")
            return (await answer.read()).endswith(b"data: [DONE]\n\n")

    async def large(self) -> bool:
        """A body above a MiB, whose model stands last and has to be read."""
        words = "x" * self.random.randint(1_100_000, 1_600_000)
        body = json.dumps({"messages": [{"role": "user", "content": words}], "model": "gpt-5-mini"}).encode()
        async with self._post(self.tokens["modelled"], "digest", body) as answer:
            self._check(answer, "edge")
            return bool((await answer.json()).get("digest") == hashlib.sha256(body).hexdigest())

    async def web_socket(self) -> bool:
        """A WebSocket with a few messages."""
        headers = {"Authorization": f"Bearer {self.tokens['ci']}"}
        async with self.session.ws_connect(f"{self.server.edge}/openai/v1/realtime", headers=headers) as socket:
            for word in ("one", "two", "three"):
                await socket.send_str(word)
                if (await socket.receive()).data != word:
                    return False
        return True

    async def refused(self) -> bool:
        """A call that is refused: no token, another path, another model, beyond the quota."""
        token, path, body, status = self.random.choice(
            [
                ("no.token.here", PATH, None, 401),
                (self.tokens["ci"], "/openai/v1/embeddings", None, 403),
                (self.tokens["modelled"], PATH, b'{"model":"gpt-4"}', 403),
                (self.tokens["small"], PATH, None, 429),
                (self.tokens["ci"], "/openai/v1/%2e%2e/models", None, 400),
            ]
        )
        return await self._status(token, path=path, body=body) == status

    async def hang_up(self) -> bool:
        """A caller that goes away: within its head, within its body, before its answer, within a stream."""
        point = self.random.randrange(4)
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(self.server.edge).port)
        act, body = ("silent", "sse")[point // 3], json.dumps(ASKED)
        head = f"POST {PATH} HTTP/1.1\r\nHost: edge\r\nX-Act: {act}\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {self.tokens['ci']}\r\nContent-Length: {len(body)}\r\n"
        whole = f"{head}\r\n{body}".encode()
        writer.write((head.encode(), whole[:-9], whole, whole)[point])
        if point == 3:
            await reader.readuntil(b"\r\n\r\n")
        elif point == 2:
            await asyncio.sleep(self.random.random() / 50)
        if self.random.random() < 0.5:
            writer.get_extra_info("socket").setsockopt(1, 13, _NO_LINGER)  # SOL_SOCKET, SO_LINGER: a reset
            writer.transport.abort()
        writer.close()
        return True

    async def reset(self) -> bool:
        """A provider that breaks off, before its head, in it, and in its body."""
        act = self.random.choice(["reset-early", "reset-head", "reset-late"])
        try:
            async with self._post(self.tokens["ci"], act) as answer:
                self._check(answer, "edge")
                await answer.read()
        except BROKEN:
            return act == "reset-late"
        return answer.status == 502

    async def exchange(self) -> bool:
        """A token, as JSON or a form; or none, for a token of which a byte differs."""
        fields = exchange(f"ci:build-{self.random.randrange(50)}")
        sent = {"json" if self.random.random() < 0.5 else "data": fields}
        is_good = self.random.random() < 0.8
        if not is_good:
            fields["subject_token"] = fields["subject_token"][:-20] + "A" * 20
        async with self.session.post(f"{self.server.broker}/token", **sent) as answer:  # type: ignore[arg-type]
            self._check(answer, "broker")
            await answer.read()
        self.issued += answer.status == 200
        return answer.status == (200 if is_good else 400)

    async def revoke(self) -> bool:
        """A principal whose stream is cut, whose next call is refused, and which comes back with another token."""
        sub, loop = f"ci:revoked-{next(self._numbers)}", asyncio.get_running_loop()
        token = await self._token(sub)
        async with self._post(token, "wait") as answer:
            self._check(answer, "edge")
            await answer.content.readuntil(b"\n\n")
            body = {"scope": "principal", "id": principal(sub), "reason": "soak", "unseen": True}
            once = {"Idempotency-Key": f"{sub}-0123456789-0123456789"}
            status, said = await self._insist("POST", "/admin/revocations", body, once)
            began = loop.time()
            try:
                async with asyncio.timeout(CUT_SECONDS):
                    await answer.content.read()
            except BROKEN:
                self.slowest_cut = max(self.slowest_cut, loop.time() - began)
            else:
                return False  # it ended whole
        is_refused = await self._status(token) == 403
        lifted, _ = await self._insist("DELETE", f"/admin/revocations/{said['id']}")
        self.revoked += 1
        old, new = await self._status(token), await self._status(await self._token(sub))
        return (status, is_refused, lifted, old, new) == (201, True, 200, 401, 200)

    async def apply(self) -> bool:
        """A policy with a limit that changes to and fro."""
        async with self._applying:
            _, current = await self.administer("GET", "/admin/policy")
            text = POLICY.replace("10000000/minute", f"{10000000 + self.applied % 2 + 1}/minute")
            etag = {"If-Match": f'"{current["version"]}"'}
            status, _ = await self.administer("PUT", "/admin/policy", {"text": text}, etag)
            self.applied += status == 200
        return status == 200

    async def read(self) -> bool:
        """An administrator that looks."""
        path = self.random.choice(["/admin/usage?window=hour", "/admin/audit", "/admin/principals", "/admin/keys"])
        status, said = await self.administer("GET", path)
        if status != 200:
            raise ValueError(f"{path}: {status} {said}")
        return True

    async def administer(
        self, method: str, path: str, body: object = None, more: dict[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Make one signed request, and return status and body."""
        data = None if body is None else json.dumps(body).encode()
        url, headers = (
            URL(self.server.administration + path, encoded=True),
            self.server.signed(method, path, data, more),
        )
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            self._check(answer, "administration")
            return answer.status, await answer.json(content_type=None)

    async def _insist(
        self, method: str, path: str, body: object = None, more: dict[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Make a request until it is not put off."""
        while True:
            with contextlib.suppress(PutOffError):
                return await self.administer(method, path, body, more)
            await asyncio.sleep(0.1)

    def _check(self, answer: aiohttp.ClientResponse, door: str) -> None:
        if answer.status == 503 and "Retry-After" in answer.headers:
            self.put_off[door] += 1
            raise PutOffError

    async def _token(self, sub: str) -> str:
        async with self.session.post(f"{self.server.broker}/token", json=exchange(sub)) as answer:
            self._check(answer, "broker")
            said = await answer.json()
        self.issued += answer.status == 200
        return str(said["access_token"])

    def _post(
        self, token: str, act: str = "", body: bytes | None = None, path: str = PATH
    ) -> aiohttp.client._RequestContextManager:
        headers = {"Authorization": f"Bearer {token}", "X-Act": act, "Content-Type": "application/json"}
        data = json.dumps(ASKED).encode() if body is None else body
        return self.session.post(URL(self.server.edge + path, encoded=True), data=data, headers=headers)

    async def _status(self, token: str, act: str = "", *, path: str = PATH, body: bytes | None = None) -> int:
        async with self._post(token, act, body, path) as answer:
            self._check(answer, "edge")
            await answer.read()
            return answer.status
