"""Deletes replaced provider keys at their providers once their overlap has ended, in a thread of the server's."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator

from chalicelib.admin import rotation_schedule
from chalicelib.admin.ports import AdminPorts
from chalicelib.errors import Unavailable

EVERY_SECONDS = 60.0
_STOP_SECONDS = 2.0
_LOG = logging.getLogger("keybroker")


class Rotating:
    """Looks every so often. Two servers over one state do not disturb each other: each step is one conditional write."""

    def __init__(self, ports: Callable[[], AdminPorts], every: float = EVERY_SECONDS) -> None:
        """every: seconds from one look to the next, and until the first."""
        self._ports, self._every = ports, every
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Look meanwhile."""
        thread = threading.Thread(target=self._act, name="rotating", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(_STOP_SECONDS)  # whatever it is at is taken over by the next server

    def _act(self) -> None:
        while not self._stop.wait(self._every):
            self.look()

    def look(self) -> None:
        """Do what is due; what goes wrong is logged, and is due again the next time."""
        try:
            for key, outcome in rotation_schedule.retire_due(self._ports()).items():
                _LOG.info(json.dumps({"door": "admin", "reason": f"rotation_{outcome}", "key": key}))
        except Unavailable as fault:
            _LOG.warning(json.dumps({"door": "admin", "reason": f"rotation_{fault.reason}"}))
        except Exception as fault:  # noqa: BLE001  whatever it is: a thread that ends deletes nothing from then on
            # SECURITY: its type alone, since its text may quote anything (test_a_fault_ends_no_looking).
            _LOG.warning(json.dumps({"door": "admin", "reason": f"rotation_{type(fault).__name__}"}))
