"""The administration is slow, down, or says no: what the console shows is true, or says that it is old and since when."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.console.console_process import ConsoleProcess, console_of, spawned, variables
from tests.integration.console.scripted_front import Front, Reply, Script, always, as_it_is, front_of, json_reply
from tests.integration.console.window import Window
from tests.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Page

WINDOWS = Callable[..., Window]
DENIED = json_reply(403, {"message": "User: arn:aws:iam::000000000000:user/viewer is not authorized"})
EXPIRED = json_reply(403, {"message": "The security token included in the request is expired"})
FAULTS = {
    "down": Reply(hangs_up=True),
    "not allowed": DENIED,
    "too many requests": json_reply(429, {"message": "Too Many Requests"}),
    "unavailable": json_reply(503, {"title": "state_unavailable", "detail": "the state cannot be read"}),
    "rubbish": Reply(200, b"<html>a proxy's sign-in page</html>", "text/html"),
}


@pytest.fixture
def front(running: Running) -> Iterator[Front]:
    with front_of(running.broker) as one:
        yield one


@pytest.fixture
def behind(running: Running, front: Front) -> Iterator[ConsoleProcess]:
    with console_of(running, front.url) as one:
        yield one


@contextlib.contextmanager
def on_any_port(running: Running, port: int = 0) -> Iterator[ConsoleProcess]:
    """Start one where no other console will come after it, as one may at the usual port."""
    with spawned(variables(running), ["--no-open", "--port", str(port)]) as process:
        assert process.stdout is not None
        enter = process.stdout.readline().strip()
        yield ConsoleProcess(enter.split("enter?")[0], enter, process)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_old_says_since_when(
    fault: str, front: Front, behind: ConsoleProcess, windows: WINDOWS, running: Running
) -> None:
    """With no new answers, each page shows the last ones with their time and the reason, and is itself again afterwards."""
    running.complete(running.token("82001"))
    page = windows(behind.enter).page
    paths = ("", "principals", "keys", "audit", "policy")
    for path in paths:
        page.goto(behind.url + path)
    front.script = always(FAULTS[fault])
    for path in paths:
        page.goto(behind.url + path)
        assert page.locator("h1").count() == 1
        if path != "principals":  # its list is read every 15 seconds: it is new enough
            assert page.locator(".problem, .denied").first.is_visible()
            assert "What is shown is old: it is as of 20" in page.locator(".old").inner_text()
    front.script = as_it_is
    page.goto(behind.url)
    assert page.locator(".old, .problem, .denied").count() == 0


def test_a_live_page_that_cannot_be_renewed_says_so(front: Front, behind: ConsoleProcess, windows: WINDOWS) -> None:
    """What was drawn before an outage is marked as old while it is looked at, without a click."""
    page = windows(behind.enter).page
    front.script = always(FAULTS["unavailable"])
    page.get_by_text("What is shown is old").wait_for()
    front.script = as_it_is
    page.get_by_text("What is shown is old").wait_for(state="detached")


def test_a_proof_that_cannot_be_renewed_claims_nothing(
    front: Front, behind: ConsoleProcess, windows: WINDOWS, running: Running
) -> None:
    """During an outage someone who is cut off is shown neither as let in again nor with numbers that nobody knows."""
    running.complete(running.token("82003"))
    revocation = running.revoke("principal", running.sub("82003"))
    page = windows(behind.enter).page
    page.goto(behind.of(running.sub("82003")))
    front.script = always(FAULTS["unavailable"])
    page.locator("#proof .problem").wait_for()
    assert "not in force" not in page.locator("#proof").inner_text()
    assert [one for one in page.locator("#proof dd").all_inner_texts() if one != "-"] == []
    front.script = as_it_is
    page.locator("#proof .problem").wait_for(state="detached")
    assert revocation in page.locator("main").inner_text()


def test_the_console_itself_is_gone(running: Running, windows: WINDOWS) -> None:
    """A page whose console has ended says that it is old."""
    with on_any_port(running) as console:
        page = windows(console.enter).page
    page.locator("body.away").wait_for()
    assert "old" in page.evaluate("getComputedStyle(document.body, '::before').content")


def test_a_console_that_fails_marks_the_page_as_old(behind: ConsoleProcess, windows: WINDOWS) -> None:
    """While the console answers the page's own requests with errors, the page says that it is old; with the first answer, no more."""
    page = windows(behind.enter).page
    page.route(behind.url, lambda route: route.fulfill(status=500, body="failed"))
    page.locator("body.away").wait_for()
    with page.expect_response(behind.url):  # and stays so
        pass
    page.wait_for_timeout(200)
    assert page.evaluate("document.body.className") == "away"
    page.unroute(behind.url)
    page.locator("body:not(.away)").wait_for()


def test_a_console_that_was_started_anew_shows_nothing_of_before(running: Running, windows: WINDOWS) -> None:
    """On the same port another console may run: a page of the one before is replaced by what to do, with nothing to press."""
    with on_any_port(running) as before:
        page = windows(before.enter).page
    with on_any_port(running, before.port) as after:
        page.get_by_role("heading", name="Open this console from your terminal").wait_for()
        assert page.get_by_role("link", name="Revoke").count() == 0
        page.goto(after.enter)
        page.get_by_role("heading", name="Now", exact=True).wait_for()


def test_a_slow_administration_is_waited_for(front: Front, behind: ConsoleProcess, windows: WINDOWS) -> None:
    """A page takes as long as its slowest answer, not as long as all of them together."""
    page = windows(behind.enter).page
    front.script = always(Reply(after=1.5, passes_on=True))
    page.goto(f"{behind.url}audit")
    page.goto(behind.url, timeout=5_000)
    assert page.locator(".old, .problem").count() == 0


def test_expired_credentials_say_what_to_do(front: Front, behind: ConsoleProcess, windows: WINDOWS) -> None:
    """AWS's answer to an expired session is shown with the command that renews it, and what was known stays."""
    page = windows(behind.enter).page
    front.script = always(EXPIRED)
    page.goto(behind.url)
    assert "aws sso login" in page.locator(".problem").inner_text()
    assert "What is shown is old" in page.locator("main").inner_text()


def test_no_credentials_say_what_to_do(running: Running, windows: WINDOWS) -> None:
    """Without any credentials the console opens, and says how to get some."""
    nothing = {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    with console_of(running, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", **nothing) as console:
        page = windows(console.enter).page
        assert "aws sso login" in page.locator(".problem").inner_text()


def may_only_read(method: str, _path: str) -> Reply | None:
    """Answer as API Gateway does to someone with the viewer's policy."""
    return None if method == "GET" else DENIED


def test_a_viewer_is_told_before_the_click(
    front: Front, behind: ConsoleProcess, windows: WINDOWS, running: Running
) -> None:
    """Who may not revoke cannot confirm, and once that was tried the principal's page says so itself."""
    running.complete(running.token("82002"))
    front.script = may_only_read
    page = windows(behind.enter).page
    page.goto(behind.revoke(running.sub("82002")))
    assert page.get_by_role("button", name="Revoke now").is_disabled()
    assert "You are not allowed" in page.locator("main").inner_text()
    page.goto(behind.of(running.sub("82002")))
    assert "you are not allowed to" in page.locator("main").inner_text()
    assert page.get_by_role("link", name="Revoke…").count() == 0


def failing_changes(reply: Reply) -> Script:
    return lambda method, path: reply if method != "GET" and "dry_run" not in path else None


@pytest.mark.parametrize("fault", ["down", "unavailable", "too many requests", "rubbish"])
def test_a_revocation_that_failed_is_not_shown_as_made(
    fault: str, front: Front, behind: ConsoleProcess, windows: WINDOWS, running: Running
) -> None:
    """It says what is wrong, keeps the reason and the key for the retry, and that retry is one revocation."""
    number = str(82010 + list(FAULTS).index(fault))
    running.complete(running.token(number))
    page: Page = windows(behind.enter).page
    page.goto(behind.revoke(running.sub(number)))
    page.get_by_label("Reason").fill("it calls at night")
    key = page.locator("input[name=key]").input_value()
    front.script = failing_changes(FAULTS[fault])
    page.get_by_role("button", name="Revoke now").click()
    page.locator(".problem").wait_for()
    assert page.locator("#proof").count() == 0
    assert page.get_by_label("Reason").input_value() == "it calls at night"
    assert page.locator("input[name=key]").input_value() == key
    front.script = as_it_is
    page.get_by_role("button", name="Revoke now").click()
    page.locator("#proof").get_by_text("Cut off", exact=True).wait_for()
