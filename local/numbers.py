"""The numbers of a server, from its parent process: whether they are wanted, where workers add them up, and what shows them."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chalicelib.admin.revocation_probe import RevocationProbes
from local.machine import Machine
from local.processes import Processes
from local.sqlite.maintenance import Upkeep
from local.tls import Renewal

if TYPE_CHECKING:  # a server without numbers does without its library
    from local.metrics.exposition import Reading

Read = Callable[[], Iterable[Any]]
"""Returns readings (`local.metrics.exposition.Reading`)."""
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"


def directory(stack: ExitStack, page: socket.socket | None, environment: Mapping[str, str]) -> Path | None:
    """Return a new directory in which workers add up, which the stack removes; None if nobody wants numbers.

    page: the listening socket of `/metrics`; None: there is none.
    """
    if page is None and not environment.get(_ENDPOINT):
        return None
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keybroker-numbers-")))


def shown(
    counted: Path, page: socket.socket | None, own: Sequence[Read], environment: Mapping[str, str]
) -> AbstractContextManager[None]:
    """Show them within a block. counted: see `directory`. own: what the parent process knows itself."""
    from local.metrics import showing  # noqa: PLC0415  see above

    return showing.showing(counted, page, own, environment)


def of_machine(
    machine: Machine, probe_every: int, upkeep: Upkeep, renewal: Renewal | None, processes: Processes
) -> Sequence[Read]:
    """Return what is known of one machine, beside what is known of any server. probe_every: seconds from one probe to the next, 0: there is none."""
    from local.metrics import names  # noqa: PLC0415  see above
    from local.metrics.exposition import Reading  # noqa: PLC0415  see above
    from local.metrics.machine_numbers import MachineNumbers  # noqa: PLC0415  see above

    def faults() -> Iterator[Reading]:
        for reason, count in tuple(upkeep.faults.items()):
            yield Reading(names.UPKEEP_FAULTS, (reason,), count)

    return MachineNumbers(machine, probe_every).read, faults, *of_server(renewal, processes)


def of_probes(probes: RevocationProbes, where: str, every: int) -> Read:
    """Return what is known of a gateway's measurements. where, every: see `local.metrics.probe_numbers.readings`."""
    from local.metrics.probe_numbers import ProbeNumbers  # noqa: PLC0415  see above

    return ProbeNumbers(probes, where, every).read


def of_server(renewal: Renewal | None, processes: Processes) -> Sequence[Read]:
    """Return what is known of any server: its certificate and its processes."""
    from local.metrics import names  # noqa: PLC0415  see above
    from local.metrics.exposition import Reading  # noqa: PLC0415  see above

    def read() -> Iterator[Reading]:
        yield Reading(names.STARTS, (), processes.starts)
        if renewal is not None:
            yield Reading(names.CERTIFICATE, (), renewal.pair.ends)

    return (read,)
