"""What load balancers ask a gateway: `/healthz`, whether it runs, and `/readyz`, whether it should get calls.

Neither asks the state: how often it is looked at does not depend on who asks (`watch`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from chalicelib.errors import Unavailable
from local.simulator.http_head import Fields
from local.simulator.viewer_response import ViewerResponse

HEALTHZ: Final = "/healthz"
READYZ: Final = "/readyz"
LOOK_SECONDS: Final = 2.0
"""Seconds from one look at the state to the next."""
_LOG: Final = logging.getLogger("keybroker")
_NO: Final = {"starting": 503, "state out of reach": 503, "draining": 503}


class Health:
    """Of one worker. It is not ready before its state was seen, while that is out of reach, and once it drains."""

    def __init__(self) -> None:
        self._said = "starting"
        self._draining = False

    @property
    def says(self) -> str:
        """What `/readyz` answers: `ready`, or why not."""
        return "draining" if self._draining else self._said

    def drain(self) -> None:
        """Ask load balancers for no more calls; those that come are still served."""
        self._draining = True

    def page(self, method: str, raw_path: str) -> ViewerResponse | None:
        """Return the answer to a question of a load balancer's; None for any other request."""
        path = raw_path.partition("?")[0]
        if method not in {"GET", "HEAD"} or path not in {HEALTHZ, READYZ}:
            return None
        said = "running" if path == HEALTHZ else self.says
        body = f"{said}\n".encode()
        headers = [("Content-Type", "text/plain"), ("Cache-Control", "no-store"), ("Content-Length", str(len(body)))]
        if status := _NO.get(said):
            return ViewerResponse(status, "Service Unavailable", Fields.of(headers), body)
        return ViewerResponse(200, "OK", Fields.of(headers), body)

    def answer(self) -> web.Response:
        """Return the answer to READYZ, for a server of aiohttp's."""
        return web.Response(
            status=_NO.get(self.says, 200), text=f"{self.says}\n", headers={"Cache-Control": "no-store"}
        )

    async def watch(self, look: Callable[[], Awaitable[object]], seconds: float = LOOK_SECONDS) -> None:
        """Look at the state again and again, until cancelled. look: raises Unavailable or TimeoutError."""
        while True:
            await self.see(look)
            await asyncio.sleep(seconds)

    async def see(self, look: Callable[[], Awaitable[object]]) -> None:
        """Look at the state once."""
        try:
            await look()
            said = "ready"
        except (Unavailable, TimeoutError) as fault:
            said = "state out of reach"
            if self._said != said:
                known = (fault.reason, fault.aws_code) if isinstance(fault, Unavailable) else ("no answer in time",)
                reason = " ".join(filter(None, known))
                _LOG.warning("not ready: the state is out of reach: %s", reason)
        if said == "ready" and self._said == "state out of reach":
            _LOG.warning("ready again: the state answers")
        self._said = said
