from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from tests.keybroker.cli.keybroker_command import COMMAND, SECONDS, bare, job, run, without_waiting
from tests.running import Running, call


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped(running: Running, name: int) -> None:
    """It prints the variables, serves, ends when it is told to, and leaves no token."""
    before = len(revoked(running))
    command = [*COMMAND, "proxy", "--key", "openai"]
    environ = {**bare(), **job(running)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout.readline(), process.stdout.readline()
        key, url = (re.fullmatch(r"export (?:OPENAI_API_KEY|OPENAI_BASE_URL)=(\S+)\n", line) for line in lines)
        assert key is not None
        assert url is not None
        assert call("GET", f"{url[1]}/models", headers={"authorization": f"Bearer {key[1]}"}).status == 200
        process.send_signal(name)
        _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, without_waiting(err)) == (0, "serving; press Ctrl-C to stop\n")
    assert len(revoked(running)) == before + 1


def revoked(running: Running) -> list[object]:
    """Return the tokens that were revoked."""
    found: list[object] = running.administer("GET", "/admin/revocations?scope=token&limit=200").json["items"]
    return found


def test_json_output_is_one_line(running: Running) -> None:
    """With --output json it prints one line of JSON."""
    command = [*COMMAND, "proxy", "--key", "openai", "--key", "anthropic", "--output", "json"]
    with subprocess.Popen(command, env={**bare(), **job(running)}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        process.terminate()
    assert said["key"].startswith("kb-local-")
    assert set(said["base_urls"]) == {"openai", "anthropic"}


def test_a_taken_port_is_an_error(running: Running) -> None:
    """A port that is taken is an error."""
    port = running.broker.rpartition(":")[2]
    done = run("proxy", "--key", "openai", "--port", port, environ=job(running))
    assert (done.code, "Address already in use" in done.err) == (1, True)
