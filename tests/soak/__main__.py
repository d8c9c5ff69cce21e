"""`make soak`: many mixed calls through a built wheel's `keybroker serve`.

It fails if memory, descriptors or threads grow without bound, if a call does not end as it must, or if counters and audit
are not what callers and provider saw.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import web

from tests.own_provider import OwnProvider
from tests.own_server import OwnServer
from tests.soak import measure, place
from tests.soak.acts import BROKEN, Acts, PutOffError
from tests.soak.measure import Sample

CALLS = 100_000
SAMPLES = 10
AT_ONCE = 24
PATIENCE = 60.0
"""Seconds until a call is given up."""
MOST_PUT_OFF = 0.005
"""The share of calls that may be asked to come again since the state is busy: twice as many callers as one machine has cores
write at once, and this machine may have more to do.
"""
QUIET_SECONDS = 1.0
"""Seconds before each sample in which nothing is asked."""
_LIMIT = 20
"""Faults that are shown of each kind."""


class Soak:
    """One soak. calls: how many. faults: what did not go as it must."""

    def __init__(self, acts: Acts, calls: int) -> None:
        self.acts, self.calls = acts, calls
        self.faults: list[str] = []
        table = acts.table()
        self._acts = {name: act for name, (_, act) in table.items()}
        weighted = [name for name, (weight, _) in table.items() for _ in range(weight)]
        self.done: collections.Counter[str] = collections.Counter()
        self._names = [acts.random.choice(weighted) for _ in range(calls)]

    async def run(self, look: Callable[[int], Sample]) -> list[Sample]:
        """Make all calls; return samples from the start to the end."""
        await self._fresh()
        samples = [look(0)]
        for number in range(SAMPLES):
            names = iter(self._names[number * self.calls // SAMPLES : (number + 1) * self.calls // SAMPLES])
            await asyncio.gather(*(self._work(names) for _ in range(AT_ONCE)))
            await asyncio.sleep(QUIET_SECONDS)
            samples.append(look((number + 1) * self.calls // SAMPLES))
            sys.stderr.write(f"{measure.lines(samples)[-1]}\n")
            await self._fresh()
        return samples

    async def _fresh(self) -> None:
        while True:
            with contextlib.suppress(PutOffError):
                return await self.acts.fresh()
            await asyncio.sleep(0.1)

    async def _work(self, names: Iterator[str]) -> None:
        for name in names:
            self.done[name] += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    if not await self._acts[name]():
                        self.faults.append(f"{name}: not as it must be")
            except PutOffError:
                pass  # it is counted, and there may not be many
            except aiohttp.WSServerHandshakeError as error:
                self.acts.put_off["edge"] += error.status == 503
                if error.status != 503:
                    self.faults.append(f"{name}: {error.status}")
            except (*BROKEN, TimeoutError, KeyError, ValueError) as error:
                self.faults.append(f"{name}: {type(error).__name__}: {error}"[:200])

    async def compare(self) -> None:
        """Compare counters and audit with what callers and provider saw."""
        counted, issued = 0, 0
        async for one in self._pages("/admin/usage?window=day"):
            counted += int(str(one["calls"]))
        async for _ in self._pages("/admin/audit?kind=token.issued"):
            issued += 1
        seen, left = sum(self.acts.provider.seen.values()), self.done["hang-ups of callers"]
        # A caller that left when its call was on its way is counted; the provider may have had no whole head of it.
        if not seen <= counted <= seen + left:
            self.faults.append(f"{counted:,} calls are counted, and the provider had {seen:,}")
        if issued != self.acts.issued:
            self.faults.append(f"{issued:,} tokens are in the audit, and callers have {self.acts.issued:,}")
        if (put_off := self.acts.put_off.total()) > self.calls * MOST_PUT_OFF:
            self.faults.append(f"{put_off:,} calls were put off")
        if self.acts.provider.stolen:
            self.faults.append(
                f"{self.acts.provider.stolen:,} calls reached the provider with something else than the key"
            )
        _say(
            f"{counted:,} calls counted, the provider had {seen:,}; {issued:,} tokens in the audit, as callers have them;"
        )
        _say(f"{put_off:,} answers of 503 that asked to be repeated {dict(self.acts.put_off)}")
        _say(f"{self.acts.revoked:,} streams cut by a revocation, the slowest after {self.acts.slowest_cut:.2f} s")

    async def _pages(self, path: str) -> AsyncIterator[dict[str, object]]:
        after = ""
        while True:
            status, said = await self.acts.administer("GET", f"{path}&limit=200{after}")
            assert status == 200, said
            items = said["items"]
            assert isinstance(items, list)
            for one in items:
                yield one
            if not said["next"]:
                return
            after = f"&after={quote(str(said['next']), safe='')}"


async def soak(server: OwnServer, pid: int, calls: int) -> list[str]:
    """Make so many calls at a server, print what it holds, and return the faults."""
    provider, started = OwnProvider(), time.monotonic()
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(provider.app(), shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        server.set_key(runner.addresses[0][1])
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        one = Soak(Acts(server, provider, session), calls)
        samples = await one.run(lambda done: measure.sample(pid, server.state, done, time.monotonic() - started))
        _say("\n".join(measure.lines(samples)), "")
        _say(*(f"{count:>7,} {name}" for name, count in one.done.most_common()), "")
        await one.compare()
    return one.faults + measure.faults(samples)


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run a soak; the exit code is 1 for any fault. KEYBROKER_SOAK_CALLS: how many calls."""
    calls = int(os.environ.get("KEYBROKER_SOAK_CALLS") or CALLS)
    _say(
        f"{calls:,} mixed calls, {AT_ONCE} at once; the wheel's `keybroker serve`, {place.WORKERS} workers;"
        f" {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    with tempfile.TemporaryDirectory() as directory, place.served(Path(directory)) as (server, pid, log):
        faults = asyncio.run(soak(server, pid, calls))
        if "Traceback" in (said := log.read_text()):
            faults.append(f"the log has a traceback: {said[said.index('Traceback') :][:2000]}")
    for fault, count in collections.Counter(faults).most_common(_LIMIT):
        _say(f"FAULT ({count:,} times) {fault}")
    _say("failed" if faults else "nothing grows without bound")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
