"""What a worker's parts tell of calls and requests, if anybody wants numbers; a server that was not told to show any does without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chalicelib.edge.call import Admitted
from chalicelib.errors import Refusal
from chalicelib.providers.answer_usage import TokenUse

if TYPE_CHECKING:  # they take a library that a server without numbers does without
    from local.metrics.measured import Door, Measured
    from local.metrics.shared import Shared

_LOG: Final = logging.getLogger("keybroker")


class Measuring:
    """Of one worker. `measured`: what the edge's calls are measured by; None: they are not."""

    def __init__(self, directory: Path | None, number: int) -> None:
        """directory: of the workers' files; None: nothing is measured. number: the worker's."""
        self.measured: Measured | None = None
        self.answered: Callable[[str, TokenUse | None], None] | None = None
        """Counts what an answer says that it took: gets the key's name."""
        self._shared: Shared | None = None
        if directory is not None:
            from local.metrics.measured import Measured  # noqa: PLC0415  see above
            from local.metrics.shared import Shared  # noqa: PLC0415  see above

            self._shared = Shared(directory, f"worker-{number}")
            self.measured = Measured(self._shared)
            self.answered = self.measured.answered

    def admitted(self, told: Callable[[str, Admitted], None]) -> Callable[[str, Admitted], None]:
        """Return what is told of an admitted call, and tells `told`."""
        measured = self.measured
        if measured is None:
            return told

        def both(request_id: str, admitted: Admitted) -> None:
            measured.admitted(request_id, admitted)
            told(request_id, admitted)

        return both

    def refused(self, request_id: str, refusal: Refusal) -> None:
        """Note why a call at the edge was refused."""
        if self.measured is not None:
            self.measured.refused(request_id, refusal)

    def door(self, door: Door) -> None:
        """Count the connections of a door other than the edge's."""
        if self.measured is not None:
            self.measured.doors.append(door)

    def seen(self, path: str, status: int, reason: str) -> None:
        """Count an answer of broker or administration; called in their threads. path: of the route, as it is written."""
        if self._shared is None:
            return
        from local.metrics import names  # noqa: PLC0415  see above

        outcome = "failed" if status >= 500 else "refused" if reason or status >= 400 else "done"
        try:
            self._shared.add(names.REQUESTS, (path, outcome, reason), 1)
        except Exception as fault:  # noqa: BLE001  requests go on whatever becomes of their numbers
            _LOG.warning("a request was not counted: %s", type(fault).__name__)

    async def keep(self) -> None:
        """Write the numbers until cancelled, and once more then."""
        if self.measured is None:
            await asyncio.Event().wait()
        else:
            await self.measured.keep()
