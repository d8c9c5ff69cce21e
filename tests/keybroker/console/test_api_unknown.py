"""What is not known is never shown as a fact: the administration does not answer, or something else answers in its place."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.integration.console.scripted_front import Front, Reply, always, as_it_is, front_of, json_reply
from tests.keybroker.console.browser import Browser
from tests.keybroker.console.conftest import console
from tests.running import Running

FAULTS = {
    "unavailable": json_reply(503, {"title": "state_unavailable", "detail": "the state cannot be read"}),
    "not allowed": json_reply(403, {"message": "User: arn:aws:iam::000000000000:user/viewer is not authorized"}),
    "not found": json_reply(404, {"message": "Not Found"}),
    "no JSON": Reply(200, b"<html>a proxy's sign-in page</html>", "text/html"),
    "{}": json_reply(200, {}),
    "[]": json_reply(200, []),
    "null": json_reply(200, None),
    "items: null": json_reply(200, {"items": None, "next": None}),
}
PAGES = ("/", "/principals", "/principal?id=nobody", "/grants", "/keys", "/audit", "/policy")
CLAIMS = ("Nobody", "None.", "That is all", "0 of 0", "under no grant", "No principal.")


@pytest.fixture(scope="module")
def front(running: Running) -> Iterator[Front]:
    with front_of(running.administration or running.broker) as one:
        yield one


@pytest.fixture
def behind(running: Running, front: Front) -> Iterator[Browser]:
    """A browser that has opened a console whose administration answers as a test says."""
    front.script = as_it_is
    with console(running, front.url) as opened:
        opened.enter()
        yield opened
    front.script = as_it_is


def test_a_first_visit_without_answers_claims_nothing(front: Front, behind: Browser) -> None:
    """Nothing was ever answered: each page says why, and neither that there is nobody nor that there is nothing."""
    for fault, reply in FAULTS.items():
        front.script = always(reply)
        for path in PAGES:
            shown = behind.get(path)
            assert shown.status == 200, (fault, path)
            assert 'role="alert"' in shown.body, (fault, path)
            assert not [claim for claim in CLAIMS if claim in shown.text], (fault, path)


def test_nobody_was_seen_is_said_by_the_administration_alone(behind: Browser) -> None:
    """Only where the administration itself knows no such principal, the page is a 404 and says so."""
    shown = behind.get("/principal?id=nobody")
    assert (shown.status, "Nobody of this id was ever seen" in shown.text) == (404, True)


def test_rubbish_is_not_kept(running: Running, front: Front, behind: Browser) -> None:
    """An answer that no page can read is a problem; what was known before it stays, with its time, also once nothing answers."""
    running.complete(running.token("9701"))
    assert "9701" in behind.get("/principals").body
    behind.get("/keys")
    for fault in ("{}", "[]", "null", "items: null", "unavailable"):
        front.script = always(FAULTS[fault])
        shown = behind.get("/keys")
        assert "What is shown is old" in shown.text, fault
        assert "anthropic" in shown.text, fault


def test_limits_that_are_not_known_are_not_none(running: Running, front: Front, behind: Browser) -> None:
    """With the usage alone out of reach, a principal's limits are said to be unknown."""
    running.complete(running.token("9702"))
    page = f"/principal?id={quote(running.sub('9702'), safe='')}"
    assert "calls each minute" in behind.get(page).text
    for fault in ("unavailable", "{}"):
        front.script = lambda _method, path, fault=fault: FAULTS[fault] if path.startswith("/admin/usage") else None  # type: ignore[misc]
        shown = behind.get(page).text
        assert "Not known." in shown
        assert "under no grant today" not in shown


def test_a_revocation_that_is_answered_with_rubbish_is_not_made(
    running: Running, front: Front, behind: Browser
) -> None:
    """An acknowledgement that is none is a problem, with the form and its key kept for the retry."""
    asked = behind.get(f"/revoke?scope=principal&id={quote(running.sub('9703'), safe='')}")
    front.script = always(FAULTS["{}"])
    shown = behind.post("/revoke", {**asked.inputs(), "reason": "at night"})
    assert shown.status == 502
    assert shown.inputs()["key"] == asked.inputs()["key"]
    assert "Cut off since" not in shown.text


def test_a_page_says_as_of_when_it_is(behind: Browser) -> None:
    """At the top of each page of answers stands the time that they are of."""
    for path in ("/", "/principals", "/grants", "/keys", "/audit", "/policy"):
        _, mark, rest = behind.get(path).text.partition("As of ")
        assert mark
        assert rest[:12].endswith(" UTC")
