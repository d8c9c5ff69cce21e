"""`keybroker signing …`, over a running broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running, start


@pytest.mark.slow
def test_a_key_that_leaked_is_tainted(tmp_path: Path) -> None:
    """In two commands a signing key is out at all workers: the next call of its tokens is refused, and new ones work."""
    with start("--workers", "2", directory=tmp_path) as running:
        _taint(running)


def _taint(running: Running) -> None:
    environ, token = administrator(running), running.token("4100")
    assert running.complete(token).status == 200
    old = run("signing", "list", environ=environ).out.split("\n")[1].split()[0]
    refused = run("signing", "taint", old, "--reason", "it leaked", environ=environ)
    assert (refused.code, "prepare one first" in refused.err) == (3, True)
    prepared = run("signing", "prepare", environ=environ)
    assert (prepared.code, prepared.err.startswith("prepared: ")) == (0, True)
    early = run("signing", "activate", prepared.err.split()[1], environ=environ)
    assert (early.code, "every edge knows it in" in early.err) == (3, True)
    rehearsed = run("signing", "taint", old, "--reason", "it leaked", "--dry-run", environ=environ)
    assert (
        rehearsed.err == f"dry run: {old} would be tainted: all of its tokens would be refused; nothing was changed\n"
    )
    assert running.complete(token).status == 200
    tainted = run("signing", "taint", old, "--reason", "it leaked", environ=environ)
    assert tainted.err == f"in force: tokens of {old} are refused from the next call on, and it never signs again\n"
    answer = running.complete(token)
    assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_token")
    assert running.complete(running.token("4101")).status == 200
    again = run("signing", "taint", old, "--reason", "it leaked", environ=environ)
    assert again.err == f"nothing to do: {old} is tainted already\n"


def test_json_is_what_the_api_says(running: Running) -> None:
    """With `--output json` the list is the API's items."""
    done = run("--output", "json", "signing", "list", environ=administrator(running))
    assert (done.code, '"status"' in done.out) == (0, True)
