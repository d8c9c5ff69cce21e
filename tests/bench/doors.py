"""The doors that are measured beside one another: ours, and what others put before the same practice provider."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from jwt.algorithms import ECAlgorithm

from local import worker
from local.machine import Machine
from local.practice import policy as practice
from local.practice.issuer import make_issuer
from local.practice.provider import make_provider
from local.sqlite.maintenance import Upkeep
from local.urls import Urls
from tests.bench import bare_door
from tests.running import JWT, TOKEN_EXCHANGE, call

ROOT = Path(__file__).resolve().parents[2]
LITELLM = ROOT / ".venv-litellm" / "bin" / "litellm"
START_SECONDS = 60.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Door:
    """One of them. path: how it calls the provider's. key: what callers send. pids: its processes, for their CPU time.

    share: what part of the calls it gets, `1/share`, so that a slow one does not take all the time. headers: what its
    callers send besides, each with its line end.
    """

    name: str
    port: int
    path: str
    key: str
    pids: tuple[int, ...]
    upkeep: Upkeep | None = None
    share: int = 1
    headers: str = ""

    def cpu(self) -> float:
        """Return the CPU seconds of its processes so far; 0 where there is no /proc."""
        ticks = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Practice:
    """The provider and the issuer that all doors have behind them."""

    provider: str
    issuer: str
    values: dict[str, str]
    pid: int

    @property
    def key(self) -> str:
        """OpenAI's practice key."""
        return self.values["openai"]


def _listening() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.bind(("127.0.0.1", 0))
    one.listen(1024)
    one.setblocking(False)  # noqa: FBT003  the socket module's own signature
    return one


def free_port() -> int:
    with _listening() as one:
        return int(one.getsockname()[1])


def _url(one: socket.socket) -> str:
    return f"http://127.0.0.1:{one.getsockname()[1]}"


@contextlib.contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[int]:
    process = _SPAWN.Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield int(process.pid or 0)
    finally:
        process.kill()
        process.join()


@contextlib.contextmanager
def practising(serve: Callable[..., None] | None = None) -> Iterator[Practice]:
    """Start the practice provider, which streams as fast as it can, and the practice issuer.

    serve: what serves at the provider's socket in its place.
    """
    values = practice.made_up_values()
    with _listening() as provider, _listening() as issuer, contextlib.ExitStack() as stack:
        pid = stack.enter_context(_process(_practise, None if serve else provider, issuer, values))
        if serve:
            pid = stack.enter_context(_process(serve, provider))
        yield Practice(_url(provider), _url(issuer), values, pid)


def _practise(provider: socket.socket | None, issuer: socket.socket, values: dict[str, str]) -> None:
    async def serve() -> None:
        apps = (make_provider(values, chunk_delay=0), provider), (make_issuer(_url(issuer), request_token="-"), issuer)
        for app, listening in apps:
            if listening is None:
                continue
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
            await runner.setup()
            await web.SockSite(runner, listening, backlog=1024).start()
        await asyncio.Event().wait()

    asyncio.run(serve())


@contextlib.contextmanager
def bare(behind: Practice) -> Iterator[Door]:
    """Start the bare pass-through."""
    with _listening() as one, _process(_serve_bare, one, behind.provider, behind.key) as pid:
        yield Door("bare aiohttp pass-through", one.getsockname()[1], "", "-", (pid,))


def _serve_bare(listening: socket.socket, provider: str, key: str) -> None:
    logging.disable()  # wrk goes away in the middle of calls, which aiohttp tells with a stack for each
    asyncio.run(bare_door.serve(listening, provider, key))


@contextlib.contextmanager
def keybroker(
    behind: Practice, directory: Path, workers: int, serve: Callable[..., None] = worker.serve
) -> Iterator[Door]:
    """Start so many workers, as `serve` does, over a state directory of their own. serve: what each of them runs."""
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(_listening()) for name in ("broker", "edge")}
        urls = Urls(_url(sockets["broker"]), _url(sockets["edge"]), behind.provider, behind.issuer)
        machine = Machine(directory, urls)
        machine.prepare(None, behind.values)
        theirs, ours = _SPAWN.Pipe(duplex=False)
        stack.callback(ours.close)
        pids = tuple(
            stack.enter_context(_worker(serve, machine, urls, sockets, theirs, workers)) for _ in range(workers)
        )
        name = f"Keybroker, {workers} worker{'s' if workers > 1 else ''}"
        token = _token(urls, behind)
        yield Door(name, sockets["edge"].getsockname()[1], "/openai", token, pids, machine.upkeep())


@contextlib.contextmanager
def _worker(  # noqa: PLR0917  what a worker is started with
    serve: Callable[..., None],
    machine: Machine,
    urls: Urls,
    sockets: dict[str, socket.socket],
    lifeline: Connection,
    workers: int,
) -> Iterator[int]:
    ready, tell = _SPAWN.Pipe(duplex=False)
    job = worker.Job(machine.directory, urls, None, sockets, machine.state_identity(), workers)
    with _process(serve, job, lifeline, tell) as pid:
        if not ready.poll(START_SECONDS):
            raise TimeoutError("a worker did not start")
        ready.recv()
        yield pid


def _token(urls: Urls, behind: Practice) -> str:
    claims = {"aud": "keybroker", "sub": "repo:o/r:ref:refs/heads/main", "repository": "o/r", "repository_id": "1234"}
    minted = call("POST", f"{behind.issuer}/_mint", {**claims, "repository_owner_id": "9919", "event_name": "push"})
    asked = {"grant_type": TOKEN_EXCHANGE, "subject_token": minted.json["token"], "subject_token_type": JWT}
    return str(call("POST", f"{urls.broker}/token", {**asked, "audience": "openai"}).json["access_token"])


HAPROXY = """\
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 150s
  timeout server 150s
"""
"""How every configuration of HAProxy's begins here."""
_VERIFYING = """\
frontend edge
  bind 127.0.0.1:{port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }} {{ var(txn.bearer),jwt_verify(txn.alg,"{public}") 1 }}
  http-request set-header Authorization "Bearer {key}"
  default_backend provider
backend provider
  server one {provider}
"""


def found(program: str) -> str | None:
    """Return where one of Debian's programs is, None if it is not installed."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


@contextlib.contextmanager
def haproxy(behind: Practice, ours: Door, directory: Path) -> Iterator[Door | None]:
    """Start HAProxy, which verifies the same token's signature, and nothing else of it; None if it is not here."""
    program = found("haproxy")
    if program is None:
        sys.stderr.write("SKIPPED: haproxy is not installed here (Debian's package haproxy)\n")
        yield None
        return
    jwk = call("GET", f"{Machine.open(directory / 'one').edge_ports().edge.issuer}/.well-known/jwks.json").json["keys"][
        0
    ]
    key = ECAlgorithm.from_jwk(jwk)
    public = directory / "public.pem"
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_bytes(*form))  # type: ignore[union-attr]  # a public key, as the document's are
    port, provider = free_port(), behind.provider.removeprefix("http://")
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY + _VERIFYING.format(port=port, public=public, key=behind.key, provider=provider))
    with started([program, "-db", "-f", str(config)], port) as pid:
        yield Door(f"HAProxy {_version([program, '-v'])}, jwt_verify", port, "", ours.key, (pid,))


LITELLM_CONFIG = """\
model_list:
  - model_name: gpt-5-mini
    litellm_params: {{model: openai/gpt-5-mini, api_base: "{provider}/v1", api_key: "{key}"}}
general_settings: {{master_key: sk-bench}}
"""


@contextlib.contextmanager
def litellm(behind: Practice, directory: Path) -> Iterator[Door | None]:
    """Start LiteLLM's proxy, one worker with one key of its own and no database; None if it is not here."""
    if not LITELLM.exists():
        sys.stderr.write(
            "SKIPPED: LiteLLM is not installed here (python -m venv .venv-litellm, litellm[proxy] in it)\n"
        )
        yield None
        return
    config, port = directory / "litellm.yaml", free_port()
    config.write_text(LITELLM_CONFIG.format(provider=behind.provider, key=behind.key))
    command = [
        str(LITELLM),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--telemetry",
        "False",
    ]
    with started(command, port) as pid:
        said = "import importlib.metadata as m; print(m.version('litellm'))"
        version = _version([str(LITELLM.with_name("python")), "-c", said])
        yield Door(f"LiteLLM {version} proxy, master key", port, "", "sk-bench", (pid,), share=20)


def _version(command: list[str]) -> str:
    """Return the first number with dots that a program says of itself."""
    said = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return found[0] if found else "?"


@contextlib.contextmanager
def started(command: list[str], port: int) -> Iterator[int]:
    here = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, env=here, stdin=silent, stdout=silent, stderr=silent) as process:
        try:
            ends = time.monotonic() + START_SECONDS
            while process.poll() is None and not _answers(port):
                if time.monotonic() > ends:
                    raise TimeoutError(f"{command[0]} did not start")
                time.sleep(0.1)
            yield process.pid
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with contextlib.closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
