"""A console as it is run: `keybroker console --no-open` in a process of its own, over a running Keybroker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.keybroker.console.browser import Browser
from tests.running import ROOT, Running


@contextmanager
def console(running: Running, admin_url: str = "") -> Iterator[Browser]:
    """Run a console, and give a browser that has opened it."""
    environment = {
        # PYTHONUNBUFFERED among them, with which the address would arrive whether or not it is written at once.
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KEYBROKER_", "PYTHON"))},
        "AWS_ACCESS_KEY_ID": running.admin["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": running.admin["secret_access_key"],
        "AWS_REGION": running.admin["region"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "KEYBROKER_URL": running.broker,
        "KEYBROKER_ADMIN_URL": admin_url or running.administration or running.broker,
    }
    command = [sys.executable, "-m", "keybroker.cli", "console", "--no-open"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, "it did not start"
            yield Browser(address, process.pid)
        finally:
            process.terminate()


@pytest.fixture
def browser(running: Running) -> Iterator[Browser]:
    """A browser that has opened a console of its own."""
    with console(running) as opened:
        opened.enter()
        yield opened
