"""`keybroker token` as a coding assistant runs it: again and again, within seconds, showing the end of what it says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.keybroker.cli.keybroker_command import run
from tests.scripted_broker import good, in_turn, jwt, refused, scripted, when_released

TOKEN = ("token", "--key", "openai")
REVOKED = refused(400, "invalid_grant", "access is revoked (grant)")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "KEYBROKER_ID_TOKEN": jwt(iss="https://ci.example", sub="a")}


def test_a_refusal_is_asked_for_once(environ: dict[str, str]) -> None:
    """Run again within seconds it says the same, with the same exit code, and sends no request."""
    with scripted(REVOKED) as broker:
        done = [run(*TOKEN, "--url", broker.url, environ=environ) for _ in range(3)]
    assert done[0].err == "error: invalid_grant: access is revoked (grant)\n"
    assert [one.code for one in done] == [3, 3, 3]
    assert done[1:] == done[:1] * 2
    assert len(broker.asked) == 1


def test_what_is_asked_again(environ: dict[str, str]) -> None:
    """Another key, another identity and --fresh are asked for; a token of the last ends the refusal."""
    with scripted(in_turn(REVOKED, REVOKED, REVOKED, good)) as broker:
        url = ("--url", broker.url)
        other = {**environ, "KEYBROKER_ID_TOKEN": jwt(iss="https://ci.example", sub="b")}
        assert run(*TOKEN, *url, environ=environ).code == 3
        assert run("token", "--key", "groq", *url, environ=environ).code == 3
        assert run(*TOKEN, *url, environ=other).code == 3
        assert run(*TOKEN, *url, environ=environ).code == 3
        assert len(broker.asked) == 3
        assert run(*TOKEN, *url, "--fresh", environ=environ).code == 0
        assert run(*TOKEN, *url, environ=environ).code == 0
    assert len(broker.asked) == 5


@pytest.mark.slow
def test_a_passing_fault_is_asked_again(environ: dict[str, str]) -> None:
    """A broker that is busy or failing is asked again each time."""
    with scripted(refused(503, "temporarily_unavailable", retry_after="0")) as broker:
        assert run(*TOKEN, "--url", broker.url, environ=environ).code == 2
        once = len(broker.asked)
        assert run(*TOKEN, "--url", broker.url, environ=environ).code == 2
    assert len(broker.asked) == 2 * once > 0


def test_the_reason_is_the_last_line(environ: dict[str, str]) -> None:
    """What to do comes first and the reason last, since agents end with a helper's last line."""
    with scripted(refused(400, "invalid_target", "no grant admits this identity")) as broker:
        said = run(*TOKEN, "--url", broker.url, environ=environ).err.splitlines()
    assert said[-1] == "error: invalid_target: no grant admits this identity"
    assert len(said) == 2


def test_it_gives_up_in_time(environ: dict[str, str]) -> None:
    """With --timeout it ends in time, whatever it waits for, and says so."""
    with scripted(when_released) as broker:
        began = time.monotonic()
        done = run(*TOKEN, "--url", broker.url, "--timeout", "0.5", environ=environ)
        took = time.monotonic() - began
    assert (done.code, done.err.splitlines()[-1]) == (2, "error: no token within 0.5 s")
    assert took < 10  # the broker would have taken 30
