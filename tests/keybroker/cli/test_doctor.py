from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.keybroker.cli.canned_server import serving
from tests.keybroker.cli.keybroker_command import job, run
from tests.running import Running

KEY = f"gsk_{'a' * 52}"


def test_a_key_in_the_environment_is_named_and_not_shown(running: Running, tmp_path: Path) -> None:
    done = run("doctor", environ={**job(running), "GROQ_API_KEY": KEY}, cwd=tmp_path)
    assert done.code == 1
    assert done.out.startswith("error: keys: groq: environment: GROQ_API_KEY\n")
    assert "keybroker keys set groq" in done.out
    assert KEY not in done.out + done.err


def test_a_token_that_was_tried_for_is_taken_back(running: Running, tmp_path: Path) -> None:
    assert run("doctor", "--key", "openai", environ=job(running), cwd=tmp_path).code == 0
    found = running.administer("GET", "/admin/revocations?scope=token").json["items"]
    assert found


@pytest.mark.parametrize(("off", "code", "said"), [(0, 0, "ok: clock"), (-300, 1, "ahead of"), (300, 1, "behind")])
def test_a_clock_that_is_off_is_an_error(off: int, code: int, said: str, running: Running, tmp_path: Path) -> None:
    date = formatdate(time.time() + off, usegmt=True)
    with serving(f"HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 2\r\n\r\n{{}}".encode()) as server:
        done = run("doctor", "--url", server.url, environ=job(running), cwd=tmp_path)
    assert (done.code, said in done.out) == (code, True), done


def test_what_answers_but_is_no_broker_is_an_error(running: Running, tmp_path: Path) -> None:
    done = run("doctor", "--url", running.edge, environ=job(running), cwd=tmp_path)
    assert (done.code, "error: broker" in done.out) == (2, True)


def test_each_check_is_made_whatever_the_others_say(tmp_path: Path) -> None:
    done = run("doctor", "--key", "openai", cwd=tmp_path)
    checks = [line.split(": ")[:2] for line in done.out.splitlines() if not line.startswith(" ")]
    assert [name for _, name in checks] == ["keys", "broker", "identity", "grant for openai"]
    assert done.code == 1
