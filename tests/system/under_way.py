"""Calls of every kind that are under way at a server, for tests of what their callers see when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from tests.own_provider import OwnProvider
from tests.own_server import DOORS, POLICY, OwnServer, exchange
from tests.running import ROOT

PATH = "/openai/v1/chat/completions"
ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}
UPLOAD = b'{"model":"gpt-5-mini","messages":"' + b"x" * 4_000_000 + b'"}'
PATIENCE = 30.0
"""Seconds until a test gives up."""


@dataclass
class Here:
    """A server in processes of its own, the provider behind it, and a client."""

    server: OwnServer
    provider: OwnProvider
    session: aiohttp.ClientSession
    process: subprocess.Popen[str]

    async def token(self, sub: str) -> str:
        """Exchange an identity token, again while that is put off: how busy this machine is, is no test's subject."""
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self.session.post(f"{self.server.broker}/token", json=exchange(sub)) as answer:
                    if answer.status != 503:
                        assert answer.status == 200, await answer.text()
                        return str((await answer.json())["access_token"])
                await asyncio.sleep(0.1)

    async def ask(self, token: str, act: str = "") -> int:
        """Make one call, and return its status."""
        headers = {"Authorization": f"Bearer {token}", "X-Act": act}
        async with self.session.post(self.server.edge + PATH, json=ASKED, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def calls(self, sub: str) -> int:
        """Return how many calls of a caller are counted today."""
        path = "/admin/usage?window=day"
        headers = self.server.signed("GET", path, None)
        async with self.session.get(self.server.administration + path, headers=headers) as answer:
            items = (await answer.json())["items"]
        return sum(one["calls"] for one in items if one["principal"].endswith(f"sub:{sub}"))

    def workers(self) -> list[int]:
        """Return the workers' process ids."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  other processes bring it about
                await asyncio.sleep(0.02)


@asynccontextmanager
async def served(directory: Path, provider: OwnProvider, *, drain: int = 20) -> AsyncIterator[Here]:
    """Serve a state directory, in front of a provider. drain: seconds that running calls have at the end."""
    (directory / "keybroker.yaml").write_text(POLICY)
    told = f"policy = 'keybroker.yaml'\n{DOORS}[state]\ndirectory = 'state'\n[timeouts]\ndrain_seconds = {drain}\n"
    (directory / "keybroker.toml").write_text(told)
    command = [sys.executable, "-m", "local", "--installed", "serve", "--json", "--config"]
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(provider.app(), shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        log = stack.enter_context((directory / "log").open("a"))
        process = stack.enter_context(_started([*command, str(directory / "keybroker.toml")], log))
        stack.callback(process.kill)
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        assert line, (directory / "log").read_text()
        server = OwnServer.of(line)
        server.set_key(runner.addresses[0][1])
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(sock_read=PATIENCE), connector=aiohttp.TCPConnector(limit=0)
        )
        yield Here(server, provider, await stack.enter_async_context(session), process)


def _started(command: list[str], log: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)


Seen = str
"""What a caller saw: `whole`, or `cut`."""


class UnderWay:
    """One call of each kind, in the middle of it: before its answer, in a stream, in an upload, in a WebSocket."""

    def __init__(self, here: Here, token: str) -> None:
        self._here, self._headers = here, {"Authorization": f"Bearer {token}"}
        self._middle = {name: asyncio.Event() for name in ("json", "stream", "upload", "web socket")}
        self.go_on = asyncio.Event()
        """Lets callers do what is left for them to do."""
        acts = {"json": self._json, "stream": self._stream, "upload": self._upload, "web socket": self._web_socket}
        self._tasks = {name: asyncio.create_task(self._seen(act)) for name, act in acts.items()}

    async def begun(self) -> None:
        """Wait until each is in the middle."""
        for one in self._middle.values():
            await asyncio.wait_for(one.wait(), PATIENCE)
        await self._here.until(lambda: self._here.provider.open["silent"] == self._here.provider.open["digest"] == 1)

    async def seen(self) -> dict[str, Seen]:
        """Wait for their ends, and return what callers saw."""
        async with asyncio.timeout(PATIENCE):
            return {name: await task for name, task in self._tasks.items()}

    @staticmethod
    async def _seen(act: Callable[[], Awaitable[bool]]) -> Seen:
        try:
            return "whole" if await act() else "cut"
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError):
            return "cut"

    def _post(self, act: str) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {**self._headers, "X-Act": act}
        return self._here.session.post(self._here.server.edge + PATH, json=ASKED, headers=headers)

    async def _json(self) -> bool:
        self._middle["json"].set()
        async with self._post("silent") as answer:
            return answer.status == 200 and "usage" in await answer.json()

    async def _stream(self) -> bool:
        async with self._post("wait") as answer:
            first = await answer.content.readuntil(b"\n\n")
            self._middle["stream"].set()
            return (first + await answer.read()).endswith(b"data: [DONE]\n\n")

    async def _upload(self) -> bool:
        url = urlsplit(self._here.server.edge)
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
        with contextlib.closing(writer):
            named = {**self._headers, "X-Act": "digest", "Content-Length": len(UPLOAD), "Connection": "close"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
            head = f"POST {PATH} HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n{lines}\r\n"
            writer.write(head.encode() + UPLOAD[:3_000_000])
            await writer.drain()
            self._middle["upload"].set()
            await self.go_on.wait()
            writer.write(UPLOAD[3_000_000:])
            answer = await reader.read()
        return json.dumps({"digest": hashlib.sha256(UPLOAD).hexdigest()})[1:-1].encode() in answer

    async def _web_socket(self) -> bool:
        url = self._here.server.edge + "/openai/v1/realtime"
        async with self._here.session.ws_connect(url, headers=self._headers) as socket:
            await socket.send_str("one")
            assert (await socket.receive()).data == "one"
            self._middle["web socket"].set()
            await self.go_on.wait()
            await socket.send_str("two")
            return bool((await socket.receive()).data == "two")
