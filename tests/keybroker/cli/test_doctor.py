from __future__ import annotations

import subprocess
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.keybroker.cli.canned_server import serving
from tests.keybroker.cli.keybroker_command import COMMAND, bare, job, run
from tests.running import Running

KEY = f"gsk_{'a' * 52}"


def test_leaked_key_is_located_and_not_shown(running: Running, tmp_path: Path) -> None:
    """A key in the environment is reported by its variable, without its value."""
    done = run("doctor", environ={**job(running), "GROQ_API_KEY": KEY}, cwd=tmp_path)
    assert done.code == 1
    assert done.out.startswith("error: keys: groq: environment: GROQ_API_KEY\n")
    assert "keybroker keys set groq" in done.out
    assert KEY not in done.out + done.err


def test_the_trial_token_is_revoked(running: Running, tmp_path: Path) -> None:
    """The token that doctor requests is revoked at once."""
    assert run("doctor", "--key", "openai", environ=job(running), cwd=tmp_path).code == 0
    found = running.administer("GET", "/admin/revocations?scope=token").json["items"]
    assert found


@pytest.mark.parametrize(("off", "code", "said"), [(0, 0, "ok: clock"), (-300, 1, "ahead of"), (300, 1, "behind")])
def test_a_wrong_clock_is_an_error(off: int, code: int, said: str, running: Running, tmp_path: Path) -> None:
    """A clock that differs from the broker's by more than the leeway is an error."""
    date = formatdate(time.time() + off, usegmt=True)
    with serving(f"HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 2\r\n\r\n{{}}".encode()) as server:
        done = run("doctor", "--url", server.url, environ=job(running), cwd=tmp_path)
    assert (done.code, said in done.out) == (code, True), done


def test_another_server_is_an_error(running: Running, tmp_path: Path) -> None:
    """A server that responds but is not a broker is an error."""
    done = run("doctor", "--url", running.edge, environ=job(running), cwd=tmp_path)
    assert (done.code, "error: broker" in done.out) == (2, True)


def test_checks_are_independent(tmp_path: Path) -> None:
    """Each check is made whatever the others find."""
    done = run("doctor", "--key", "openai", cwd=tmp_path)
    checks = [line.split(": ")[:2] for line in done.out.splitlines() if not line.startswith(" ")]
    assert [name for _, name in checks] == ["keys", "broker", "identity", "grant for openai"]
    assert done.code == 1


def test_a_stopped_search_is_not_ok(tmp_path: Path) -> None:
    """A search that stopped at the limit of files is a warning, and never "no provider keys"."""
    for number in range(3):
        (tmp_path / str(number)).write_text("")
    limited = (
        "import sys; from keybroker.cli import key_scan; key_scan.FILES = 2; from keybroker.cli.__main__ import main; "
    )
    code = f"{limited}sys.argv[1:] = ['doctor']; main()"
    done = subprocess.run(
        [COMMAND[0], "-c", code],
        cwd=tmp_path,
        env={**bare(), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "warning: keys: stopped after 2 files" in done.stdout, done
    assert "no provider keys" not in done.stdout
