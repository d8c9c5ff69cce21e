"""A simulated distribution with our edge function, in a separate process whose memory can be measured.

`python -m tests.door_process DIRECTORY` serves with the state that `tests.parts` created there, prints its port, and exits
when its stdin is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

import edge
from chalicelib.edge.admission import Edge
from local.provider_key_file import ProviderKeyFile
from local.signing_key_file import SigningKeyFile
from local.simulator.cloudfront import make_distribution, make_runner
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import StateFile
from tests.parts import BROKER, EDGE, NOW, Parts

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class DoorProcess:
    """The process: its port, and what it holds."""

    port: int
    pid: int

    def resident(self) -> int:
        """Return the bytes of memory that it has now."""
        return self._kilobytes("VmRSS") * 1024

    def open_files(self) -> int:
        """Return how many descriptors it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _kilobytes(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextlib.contextmanager
def door_process(parts: Parts) -> Iterator[DoorProcess]:
    """Start it over these parts, and end it."""
    command = [sys.executable, "-m", "tests.door_process", str(parts.directory)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield DoorProcess(int(process.stdout.readline()), process.pid)
        finally:
            process.stdin.close()
            process.wait(10)


async def _serve(directory: Path) -> None:
    edge_state = SqliteEdgeState(StateFile(directory / "state.db", durable=False).bind())
    signing, keys = SigningKeyFile(directory / "signing-key.pem"), ProviderKeyFile(directory / "provider-keys.json")
    ports = edge.Ports(Edge(edge_state, signing, keys, BROKER, EDGE), lambda: NOW, lambda _line: None)
    distribution = make_distribution(edge.make_handler(lambda: ports))
    runner = make_runner(distribution, grace=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as a worker does: memory is measured here
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    await distribution.close()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
