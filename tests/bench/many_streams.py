"""`python -m tests.bench.many_streams 3000`: what so many silent streams hold in one worker, and how soon a revocation ends all.

Each is another caller's, so that nothing is shared but the key, which is revoked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from local import descriptors
from tests.own_provider import OwnProvider
from tests.soak import measure
from tests.soak.measure import Held
from tests.system.under_way import ASKED, PATH, Here, served

AT_ONCE = 8
"""Streams that are opened at once."""
PATIENCE = 20.0
"""Seconds that a stream has to end."""
_LOOKS = 30


async def main(count: int) -> dict[str, object]:
    """Open the streams, revoke the key, and return the numbers."""
    with tempfile.TemporaryDirectory() as directory:
        async with served(Path(directory), OwnProvider()) as here:
            token = await here.token("ci:probe")
            before, quick = _worker(here), await _milliseconds(here, token)
            places = asyncio.Semaphore(AT_ONCE)
            streams = await asyncio.gather(*(_open(here, f"ci:stream-{number}", places) for number in range(count)))
            await asyncio.sleep(2)
            held, slow = _worker(here), await _milliseconds(here, token)
            waiting = [asyncio.create_task(_end(one)) for one in streams]
            await _revoke(here)
            acknowledged = time.monotonic()
            after = sorted(ended - acknowledged for ended in await asyncio.gather(*waiting))
    return {
        "streams": count,
        "bytes_a_stream": (held.resident - before.resident) // count,
        "descriptors_a_stream": (held.descriptors - before.descriptors) / count,
        "call_ms_before": quick,
        "call_ms_beside": slow,
        "cut_first_s": round(after[0], 3),
        "cut_last_s": round(after[-1], 3),
    }


def _worker(here: Here) -> Held:
    return measure.sample(here.process.pid, here.server.state, 0, 0).held["worker 1"]


async def _milliseconds(here: Here, token: str) -> float:
    """Return what a call takes, at the median."""
    took = []
    for _ in range(_LOOKS):
        began = time.perf_counter()
        assert await here.ask(token) == 200
        took.append(time.perf_counter() - began)
    return round(1000 * sorted(took)[_LOOKS // 2], 2)


async def _open(here: Here, sub: str, places: asyncio.Semaphore) -> aiohttp.ClientResponse:
    async with places:
        headers = {"Authorization": f"Bearer {await here.token(sub)}", "X-Act": "wait"}
        while (answer := await here.session.post(here.server.edge + PATH, json=ASKED, headers=headers)).status == 503:
            answer.release()
            await asyncio.sleep(0.1)
        assert answer.status == 200, await answer.text()
        await answer.content.readuntil(b"\n\n")
        return answer


async def _end(answer: aiohttp.ClientResponse) -> float:
    try:
        async with asyncio.timeout(PATIENCE):
            await answer.read()
    except (aiohttp.ClientError, ConnectionError):
        return time.monotonic()
    raise AssertionError("a stream ended whole")


async def _revoke(here: Here) -> None:
    body = json.dumps({"scope": "key", "id": "openai", "reason": "a bench"}).encode()
    path = "/admin/revocations"
    headers = here.server.signed("POST", path, body)
    async with here.session.post(here.server.administration + path, data=body, headers=headers) as answer:
        assert answer.status == 201, await answer.text()


if __name__ == "__main__":
    descriptors.raise_limit()
    sys.stdout.write(json.dumps(asyncio.run(main(int(sys.argv[1])))) + "\n")
