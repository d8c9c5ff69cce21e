"""Backups of a server that is busy."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import pytest

from chalicelib.admin import paging
from chalicelib.audit import Query
from local.machine import Machine
from tests.local.state_commands import Output, do
from tests.running import POLICY, ROOT, Running, wait_until
from tests.running import start as serve


class Callers:
    """Callers that fetch tokens and call, one after another, until they are told to stop."""

    def __init__(self, server: Running, count: int) -> None:
        self._server = server
        self.tokens: list[str] = []
        self.statuses: set[int] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(f"18{number:02}",)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, repository: str) -> None:
        while not self._stop.is_set():
            answer = self._server.exchange(self._server.mint(repository))
            self.statuses.add(answer.status)
            if answer.status == 200:
                token = answer.json["access_token"]
                self.statuses.add(self._server.complete(token).status)
                self.tokens.append(token)


def _jti(token: str) -> str:
    found: str = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["jti"]
    return found


@pytest.mark.slow
def test_a_backup_under_load_may_be_killed(tmp_path: Path, capsys: Output) -> None:
    """Backups of a busy server that are killed leave no file and disturb nobody; the next has every token of before it."""
    policy = POLICY.replace("tokens: 1000/hour", "tokens: 1000000/hour")
    with serve(policy=policy, directory=tmp_path) as running, Callers(running, 4) as callers:
        wait_until(lambda: len(callers.tokens) > 10)
        command = [sys.executable, "-m", "local", "state", "backup", str(tmp_path / "b"), "--state", str(running.state)]
        for wanted in ("", "files/state.db", "backup"):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until(lambda: _is_at(tmp_path, wanted) or process.poll() is not None)  # noqa: B023  used at once
            process.kill()
            process.wait()
            assert not (tmp_path / "b").exists() or do(capsys, "check", tmp_path / "b")[0] == 0
            (tmp_path / "b").unlink(missing_ok=True)
        before = [*callers.tokens]
        assert do(capsys, "backup", tmp_path / "b", "--state", running.state)[0] == 0
        assert list(tmp_path.glob(".keybroker-backup-*")) == []
    assert callers.statuses == {200}
    assert do(capsys, "check", tmp_path / "b")[0] == 0
    assert do(capsys, "restore", tmp_path / "b", "--state", tmp_path / "new")[0] == 0
    pages = paging.events(Machine.open(tmp_path / "new").ledger(), Query({"kind": "token.issued"}), sys.maxsize)
    assert {_jti(one) for one in before} <= {event.jti for page in pages for event in page.events}


def _is_at(directory: Path, name: str) -> bool:
    """Whether a backup has come to writing this file."""
    return any((one / name).exists() for one in directory.glob(".keybroker-backup-*"))
