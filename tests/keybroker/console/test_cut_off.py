"""Who is cut off is seen wherever it stands, by what, and with what ends that in place of what begins it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.integration.console.scripted_front import Reply, as_it_is, front_of, json_reply
from tests.keybroker.console.browser import Browser
from tests.keybroker.console.conftest import console
from tests.running import Running

FAR = 4_102_444_800
NEWER = [
    {
        "id": f"newer-{number}",
        "scope": "principal",
        "target": f"https://ci.example|repository_id:{number}",
        "reason": "newer",
        "author": "someone",
        "at": FAR,
        "until": None,
        "lifted_at": None,
        "lifted_by": None,
        "in_force": True,
    }
    for number in range(200)
]


def page_of(running: Running, number: str) -> str:
    return f"/principal?id={quote(running.sub(number), safe='')}"


def row(shown: str, name: str) -> str:
    """The row of a table that begins with a name, without tags."""
    found = next(one for one in re.findall(r"<tr>.*?</tr>", shown, re.DOTALL) if name in one)
    return " ".join(re.sub(r"<[^>]+>", " ", found).split())


@contextlib.contextmanager
def revoked(running: Running, scope: str, target: str) -> Iterator[str]:
    """Revoke something, and restore it."""
    made = running.revoke(scope, target)
    try:
        yield made
    finally:
        running.administer("DELETE", f"/admin/revocations/{made}")


def test_two_hundred_newer_ones_hide_no_revocation(running: Running) -> None:
    """The page and the proof say that a principal is cut off, whatever else is in force; by whom, if that can be found."""
    running.complete(running.token("9801"))
    beyond = "all"

    def newer(method: str, path: str) -> Reply | None:
        """Answer 200 newer ones first; after them as it is, or ever more of them."""
        if method != "GET" or not path.startswith("/admin/revocations") or "scope=" in path or "false" in path:
            return None
        return json_reply(200, {"items": NEWER, "next": f"{FAR}#x"}) if beyond in path or "after=" not in path else None

    with (
        revoked(running, "principal", running.sub("9801")) as made,
        revoked(running, "grant", "small"),
        front_of(running.administration or running.broker) as front,
    ):
        front.script = newer
        live = f"/proof?id={quote(running.sub('9801'), safe='')}&revocation={made}"
        with console(running, front.url) as browser:
            browser.enter()
            shown = browser.get(page_of(running, "9801")).text
            assert "a test" in shown.partition("Cut off since")[2]
            assert "Cut off since" in browser.get(live, hx_request="true").text
            assert "Thaw small" in browser.get("/grants").text
        beyond = "after="
        with console(running, front.url) as browser:
            browser.enter()
            shown = browser.get(page_of(running, "9801")).text
            assert f"Cut off by {made}" in shown
            assert "Revoke…" not in shown
            proof = browser.get(live, hx_request="true").text
            assert f"Cut off by {made}" in proof
            assert "not in force" not in proof
    with console(running) as browser:
        browser.enter()
        assert "not in force any more" in browser.get(live, hx_request="true").text


def test_a_list_says_who_is_cut_off(running: Running, browser: Browser) -> None:
    """Among the busiest, in the list and among those who are cut off, someone who is can be restored, and not revoked again."""
    for _ in range(3):
        running.complete(running.token("9802"))
    sub = running.sub("9802")
    assert "Revoke" in row(browser.get("/principals?q=9802").body, sub)
    with revoked(running, "principal", sub):
        for path in ("/", "/principals?q=9802"):
            found = row(browser.get(path).body, sub)
            assert "Restore" in found, path
            assert "Revoke" not in found, path
        now = browser.get("/").body
        assert "a test" in row(now[now.index('id="cut-off"') :], sub)
    assert "Revoke" in row(browser.get("/principals?q=9802").body, sub)


@pytest.mark.parametrize("scope", ["grant", "key", "issuer", "everything"])
def test_what_is_frozen_above_someone_is_named(scope: str, running: Running) -> None:
    """Someone whose grant, key or issuer is frozen is cut off, by that; its tokens are dead, and the list says so."""
    running.complete(running.token("9803"))
    target = {"grant": "ci", "key": "openai", "issuer": running.issuer, "everything": "*"}[scope]
    frozen = json_reply(200, {"items": [{**NEWER[0], "scope": scope, "target": target}], "next": None})

    def freezes(_method: str, path: str) -> Reply | None:
        """Nothing is really frozen: other tests run meanwhile."""
        return frozen if path.startswith("/admin/revocations?in_force=true&limit") else None

    with front_of(running.administration or running.broker) as front, console(running, front.url) as browser:
        browser.enter()
        front.script = freezes
        shown = browser.get(page_of(running, "9803")).text
        assert f"Cut off by what is frozen above it: {scope}" in shown
        assert "Tokens alive 0" in shown
        assert "dead" in shown
        assert "Thaw" in shown
        found = browser.get("/principals?q=9803")
        assert f"Frozen: {scope}" in found.text
        assert ("cut off" in row(found.body, running.sub("9803"))) == (scope != "key")
        front.script = as_it_is
        assert "Cut off" not in browser.get(page_of(running, "9803")).text


def test_one_of_two_grants_is_not_all(running: Running, browser: Browser) -> None:
    """Someone with a grant left is cut off in part, and the list offers to revoke it."""
    running.complete(running.token("9804"))
    running.token("9804", "anthropic")
    with revoked(running, "grant", "claude"):
        assert "Cut off in part by what is frozen above it: grant claude" in browser.get(page_of(running, "9804")).text
        assert "cut off" not in row(browser.get("/principals?q=9804").body, running.sub("9804"))


def test_a_frozen_grant_can_be_thawed(running: Running, browser: Browser) -> None:
    """Grants say which of them is frozen, and thaw it."""
    with revoked(running, "grant", "small"):
        shown = browser.get("/grants")
        assert "frozen" in row(shown.body, ">small<")
        assert "Freeze small" not in shown.text
        browser.post("/restore", shown.inputs())
        assert "Freeze small" in browser.get("/grants").text


def test_a_revoked_token_is_dead(running: Running, browser: Browser) -> None:
    """Revoking one token is acknowledged by name; the principal's page counts it no more, and offers no second time."""
    running.complete(running.token("9805"))
    page = browser.get(page_of(running, "9805"))
    assert "Tokens alive 1" in page.text
    [jti] = re.findall(r"Revoke token ([^ <]+)", page.text)
    asked = browser.get(f"/revoke?scope=token&id={jti}")
    shown = browser.post("/revoke", {**asked.inputs(), "reason": "it leaked"})
    assert f"Revoked: token {jti}" in shown.text
    assert "it leaked" in shown.text
    page = browser.get(page_of(running, "9805"))
    assert "Tokens alive 0" in page.text
    assert "Revoke token" not in page.text
    assert "Revoked:" not in browser.get("/?revoked=nothing-here").text


def test_those_who_are_cut_off_are_counted(running: Running, browser: Browser) -> None:
    """The first page lists the newest ten, and says how many more there are."""
    with contextlib.ExitStack() as all_of_them:
        for number in range(12):
            all_of_them.enter_context(revoked(running, "principal", running.sub(f"981{number}")))
        shown = browser.get("/").text
    assert re.search(r"and \d+ more", shown.partition("Cut off now")[2])
