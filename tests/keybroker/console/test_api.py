"""What the pages know of the administration: refusals that pass, silence, credentials that were renewed."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from keybroker import aws
from keybroker.cli.admin_client import AdminClient
from keybroker.console import api
from keybroker.console.api import Api
from tests.integration.console.scripted_front import Front, Reply, always, as_it_is, front_of, json_reply
from tests.keybroker.console.conftest import console
from tests.running import Running, wait_until

DENIED = json_reply(403, {"message": "User: arn:aws:iam::000000000000:user/viewer is not authorized"})
NOW: tuple[str, dict[str, object], tuple[str, ...]] = ("/admin/now", {}, ())


@pytest.fixture
def front(running: Running) -> Iterator[Front]:
    with front_of(running.broker) as one:
        yield one


@pytest.fixture
def signed(running: Running, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the secret with which requests are signed."""
    for name, value in (("ACCESS_KEY_ID", "access_key_id"), ("REGION", "region")):
        monkeypatch.setenv(f"AWS_{name}", running.admin[value])
    return lambda secret: monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


@pytest.fixture
def behind(running: Running, front: Front, signed: Callable[[str], None]) -> Iterator[tuple[Api, list[float]]]:
    """An Api over the front, and its clock."""
    signed(running.admin["secret_access_key"])
    aws.forget()
    clock = [0.0]
    yield Api(AdminClient(front.url), lambda: clock[0]), clock
    aws.forget()


def test_a_refusal_is_believed_for_a_minute(front: Front, behind: tuple[Api, list[float]]) -> None:
    """What was refused is off for a minute, and then no more: what a person may do changes."""
    known, clock = behind
    front.script = always(DENIED)
    known.act("restore", ("DELETE", "/admin/revocations/x"))
    assert known.denied == {"restore"}
    clock[0] += api.DENIED_SECONDS
    assert known.denied == frozenset()


def test_silence_is_waited_for_briefly(
    front: Front, behind: tuple[Api, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read is given up after some seconds, all of it at once."""
    known, _ = behind
    assert api.READ_SECONDS <= 8
    monkeypatch.setattr(api, "READ_SECONDS", 0.3)
    known = Api(known._changing)
    front.script = always(Reply(after=20))
    began = time.monotonic()
    answers = known.get_all(*[NOW] * 6)
    assert time.monotonic() - began < 5
    assert all(one.problem and one.data is None for one in answers)


def test_it_ends_although_nobody_answers(running: Running, front: Front) -> None:
    """Ctrl-C ends it at once, while a page waits for an administration that is silent."""
    with console(running, front.url) as opened:
        opened.enter()
        front.script = always(Reply(hangs_up=True, after=30))

        def look() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # it ends meanwhile
                opened.get("/")

        threading.Thread(target=look, daemon=True).start()
        wait_until(lambda: len(front.asked) >= 4, 10)
        os.kill(opened.pid, signal.SIGINT)
        stat = Path(f"/proc/{opened.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", 4)


def test_renewed_credentials_are_found(
    running: Running, behind: tuple[Api, list[float]], signed: Callable[[str], None]
) -> None:
    """Credentials that were refused are looked for anew: a file that was written again is read."""
    known, _ = behind
    signed("wrong")
    aws.forget()
    assert known.get(*NOW).problem is not None
    signed(running.admin["secret_access_key"])
    assert known.get(*NOW).problem is None


def test_what_may_not_be_done_is_off_everywhere(running: Running, front: Front) -> None:
    """Once a revocation was refused, no page has a link to one; the next minute it does."""
    running.complete(running.token("9711"))
    sub = quote(running.sub("9711"), safe="")
    with console(running, front.url) as opened:
        opened.enter()
        pages = ("/", "/principals", "/grants", "/keys", f"/principal?id={sub}")
        assert all('href="/revoke?' in opened.get(page).body for page in pages)
        front.script = lambda method, _path: DENIED if method != "GET" else None
        opened.get(f"/revoke?scope=principal&id={sub}")
        assert [page for page in pages if 'href="/revoke?' in opened.get(page).body] == []
        assert "you are not allowed to" in opened.get("/keys").text
        front.script = as_it_is


def test_a_grant_of_few_calls_was_used_last_by_someone(running: Running, front: Front) -> None:
    """Who used a grant last is known, also where 200 others are busier under other grants."""
    use = {"key": "openai", "name": "busy", "calls": 9, "tokens": 1, "last_seen": 1_795_500_000, "grant": "ci"}
    busiest = [{**use, "principal": f"busy|{number}"} for number in range(200)]
    assert running.complete(running.token("9712", owner="7")).status in (200, 429)

    def many(_method: str, path: str) -> Reply | None:
        is_all = path.startswith("/admin/usage?") and "top=200" in path and "grant=" not in path
        return json_reply(200, {"items": busiest, "next": None}) if is_all else None

    front.script = many
    with console(running, front.url) as opened:
        opened.enter()
        row = opened.get("/grants").text.partition("Freeze claude")[2].partition("Freeze small")[0]
        assert "octo-org/octo-repo" in row
