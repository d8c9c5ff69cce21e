"""Shows the numbers of one server while it runs: at `/metrics`, over OTLP, or both."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from local.metrics import otlp
from local.metrics.exposition import CONTENT_TYPE, Exposition, Reading
from local.metrics.page import Page


@contextlib.contextmanager
def showing(
    directory: Path,
    listening: socket.socket | None,
    own: Sequence[Callable[[], Iterable[Reading]]],
    environment: Mapping[str, str],
) -> Iterator[None]:
    """Show them meanwhile. directory: of the workers' files. listening: for the page; None: there is none."""
    exposition = Exposition(directory, own)
    with contextlib.ExitStack() as stack:
        if listening is not None:
            stack.enter_context(Page(listening, exposition.text, CONTENT_TYPE).running())
        if otlp.is_wanted(environment):
            stack.enter_context(otlp.sending(exposition.collect, environment))
        yield
