"""A listening socket that cannot accept is one line in the log, and other faults are told as ever."""

from __future__ import annotations

import asyncio
import errno
import logging

import pytest

from local.accept_faults import AcceptFaults


def test_many_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Faults for want of descriptors are one line without a traceback in ten seconds, with their number in the next."""
    caplog.set_level(logging.WARNING)
    loop, handle = asyncio.new_event_loop(), AcceptFaults()
    context = {"message": "socket.accept() out of system resource", "socket": object()}
    try:
        for _ in range(300):
            handle(loop, {**context, "exception": OSError(errno.EMFILE, "Too many open files")})
    finally:
        loop.close()
    assert [one.getMessage() for one in caplog.records] == [
        "no connection can be accepted: Too many open files (1 times); trying again"
    ]
    assert caplog.records[0].exc_info is None


def test_other_faults_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Any other fault keeps its traceback."""
    loop, fault = asyncio.new_event_loop(), RuntimeError("a fault")
    try:
        AcceptFaults()(loop, {"message": "a task failed", "exception": fault})
    finally:
        loop.close()
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is fault
