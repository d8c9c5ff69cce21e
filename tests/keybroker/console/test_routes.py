"""The pages, as they are read without JavaScript, over a running Keybroker."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import quote

import pytest

from keybroker.console.server import STATIC
from tests.keybroker.console.browser import Browser
from tests.keybroker.console.conftest import console
from tests.parts import claims_of
from tests.running import POLICY, Running, start, wait_until

HOSTILE = "<script>alert(1)</script>\"'&\u202e" + "x" * 200


def principal(running: Running, repository_id: str) -> str:
    """The address of a principal's page."""
    return f"/principal?id={quote(running.sub(repository_id), safe='')}"


def test_the_night_s_story(running: Running, browser: Browser) -> None:
    """Someone is found, cut off with two clicks, shown to be cut off, and restored; nothing needs a script."""
    token = running.token("9601")
    assert running.complete(token).status == 200
    found = browser.get("/principals?q=9601").text
    assert "1 of" in found
    asked = browser.get(f"/revoke?scope=principal&id={quote(running.sub('9601'), safe='')}")
    assert "This cuts off 1 principal with 1 token alive" in asked.text
    shown = browser.post("/revoke", {**asked.inputs(), "reason": "calls at 3 at night"})
    assert "Cut off since" in shown.text
    assert "Calls admitted since 0 Attempts refused since 0" in shown.text
    assert [running.complete(token).status for _ in range(3)] == [403] * 3
    assert "Calls admitted since 0 Attempts refused since 3" in browser.get(principal(running, "9601")).text
    restored = browser.post("/restore", shown.inputs())
    assert "Cut off since" not in restored.text
    assert running.complete(token).status == 401, "a token from before stays invalid"
    assert running.complete(running.token("9601")).status == 200


def test_how_long_answers_take(running: Running, browser: Browser) -> None:
    """The first page says how long answers took to begin and how many failed, in its figures and in tables."""
    assert running.complete(running.token("9606")).status == 200
    wait_until(lambda: "Half begin within" in browser.get("/").text, 10)
    shown = browser.get("/").text
    assert "Failed this hour" in shown
    assert "Seconds to the first byte, by minute" in shown
    assert "From Answers Failed Rate" in shown


def test_twice_is_once(running: Running, browser: Browser) -> None:
    """However often a confirmation is sent, it is one revocation."""
    running.token("9602")
    asked = browser.get(f"/revoke?scope=principal&id={quote(running.sub('7402'), safe='')}")
    form = {**asked.inputs(), "reason": "twice"}
    assert [browser.post("/revoke", form).status for _ in range(2)] == [200, 200]
    items = running.administer("GET", "/admin/revocations?scope=principal&limit=200").json["items"]
    assert [one["reason"] for one in items].count("twice") == 1


def test_another_reason_is_another_request(running: Running, browser: Browser) -> None:
    """A confirmation whose answer was lost can be sent again with another reason; nothing says that its key was used."""
    running.token("9607")
    form = browser.get(f"/revoke?scope=principal&id={quote(running.sub('9607'), safe='')}").inputs()
    assert browser.post("/revoke", {**form, "reason": "at night"}).status == 200
    again = browser.post("/revoke", {**form, "reason": "at night, again"})
    assert (again.status, "Cut off since" in again.text) == (200, True)


def test_hostile_names_are_text(running: Running, browser: Browser) -> None:
    """A name that a caller chose is text on every page: no tag, no attribute, and no other direction of writing."""
    running.exchange(running.mint("9603", repository=HOSTILE))
    for page in ("/", "/principals", principal(running, "9603"), "/audit", "/grants"):
        body = browser.get(page).body
        assert "<script>alert" not in body
        assert "\u202e" not in body
    assert "&lt;script&gt;alert(1)" in browser.get("/principals?q=script").body


def test_a_search_is_text(browser: Browser) -> None:
    """What is typed is text where it is shown again."""
    body = browser.get("/principals?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").body
    assert "<script>alert" not in body
    assert "0 of" in browser.get("/principals?q=nobody-has-this-name").text


def test_an_identity_is_explained(running: Running, browser: Browser) -> None:
    """Claims that are pasted are said to be unverified, a token that is good to be so, and rubbish to be neither."""
    csrf = browser.get("/grants").inputs()["csrf"]

    def explained(identity: str) -> str:
        return browser.post("/grants", {"csrf": csrf, "identity": identity}).text

    claims = json.dumps(claims_of(running.mint("9604")))
    assert "Unverified:" in explained(claims)
    assert "Admitted by ci" in explained(claims)
    assert "The token's signature is good." in explained(running.mint("9604"))
    assert "neither a token nor a JSON object" in explained("rubbish")
    assert "claims must be a JSON object" in explained("[]")


def test_another_policy_is_compared(browser: Browser) -> None:
    """A policy that is pasted is compared with the one in force, and nothing is applied."""
    csrf = browser.get("/policy").inputs()["csrf"]
    text = POLICY.partition("  small:")[0]
    shown = browser.post("/policy", {"csrf": csrf, "text": text}).text
    assert "remove grant small" in shown
    assert "ends the tokens issued so far" in shown
    assert "version 1," in browser.get("/policy").text


def test_who_would_be_cut_off_has_a_name(running: Running, browser: Browser) -> None:
    """Whom another policy would cut off is listed by name, with a link to the page."""
    running.token("9608", owner="7")
    csrf = browser.get("/policy").inputs()["csrf"]
    shown = browser.post("/policy", {"csrf": csrf, "text": POLICY.partition("  small:")[0]})
    cut_off = shown.body.partition("cut off")[2].partition("let in")[0]
    assert "octo-org/octo-repo</bdi></a>" in cut_off
    assert 'href="/principal?id=' in cut_off


def test_what_is_too_large_says_so(browser: Browser) -> None:
    """A policy that is larger than the console takes gets a page that says the limit, not an empty answer."""
    shown = browser.post("/policy", {"csrf": "", "text": "#" * 600_000})
    assert shown.status == 413
    assert "This is too large for the console It takes 256 KB" in shown.text


def test_claims_stay_after_many_refusals(running: Running, browser: Browser) -> None:
    """The claims of the newest identity are shown, however many refusals there were since."""
    running.token("9609")
    for _ in range(21):
        assert running.exchange(running.mint("9609"), audience="nothing").status != 200
    assert "The claims of its newest identity" in browser.get(principal(running, "9609")).text


def test_keys_can_be_frozen_and_thawed(running: Running, browser: Browser) -> None:
    """A key is frozen and thawed from its page, and a banner says so meanwhile."""
    asked = browser.get("/revoke?scope=key&id=anthropic")
    browser.post("/revoke", {**asked.inputs(), "reason": "frozen by a test"})
    keys = browser.get("/keys")
    assert "frozen" in keys.text
    assert "Frozen: key anthropic" in browser.get("/").text.replace("  ", " ")
    browser.post("/restore", keys.inputs())
    assert "Thaw" not in browser.get("/keys").text
    assert running.administer("GET", "/admin/now").json["revoked"]["frozen"] == []


def test_the_audit_is_filtered_and_exported(running: Running, browser: Browser) -> None:
    """The audit is filtered, paged, and comes as a file of the same events."""
    running.token("9605")
    sub = quote(running.sub("9605"), safe="")
    assert "token.issued" in browser.get(f"/audit?principal={sub}").text
    lines = browser.get(f"/audit/export?principal={sub}")
    assert lines.headers["content-disposition"].startswith("attachment")
    assert all('"principal": "' in line for line in lines.body.splitlines())
    assert browser.get("/audit").text.count("token.issued") > 0


def test_nobody_is_sent_elsewhere(browser: Browser) -> None:
    """Wherever a form says to go afterwards, it is a page of ours."""
    csrf = browser.get("/grants").inputs()["csrf"]
    for back in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        shown = browser.post("/restore", {"csrf": csrf, "revocation": "nothing", "back": back})
        assert shown.status == 502
        assert "evil.example" not in shown.body
        assert "javascript:" not in shown.body


def test_what_is_vendored_is_as_it_was_published() -> None:
    """The scripts that are not ours are those of npm's packages, to the byte."""
    found = {name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest() for name in VENDORED}
    assert found == VENDORED
    assert (STATIC / "LICENSES.txt").read_text().count("Permission") >= 2


VENDORED = {
    "htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


@pytest.mark.slow
def test_the_first_page_is_light() -> None:
    """The first page of a dozen principals, with all that it needs, is under 100 KB as it is sent, in one round of requests."""
    files = ("htmx.min.js", "uPlot.iife.min.js", "uPlot.min.css", "console.css", "console.js", "icon.svg")
    with start() as running, console(running) as browser:  # of its own: others leave what they did on the page
        browser.enter()
        for number in range(12):
            running.token(f"961{number}")
        page = browser.get("/", accept_encoding="gzip")
        sent = [int(page.headers["content-length"])]
        for name in files:
            assert f"/static/{name}" in page.body
            sent.append(int(browser.get(f"/static/{name}", accept_encoding="gzip").headers["content-length"]))
    assert sum(sent) < 100_000
