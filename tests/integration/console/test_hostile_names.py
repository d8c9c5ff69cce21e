"""Callers name themselves in their tokens: whatever they write is text, on every page."""

from __future__ import annotations

import pytest

from tests.integration.console.console_process import ConsoleProcess
from tests.integration.console.window import Window
from tests.running import Running

NAMES = {
    "86001": "<script>document.title='taken'</script><img src=x onerror=document.title='taken'>",
    "86002": "octo-org/\u202egpj.exe\u2066",
    "86003": "n" * 300,
    "86004": "\"'><b onfocus=document.title='taken' autofocus>{{ 7*7 }}&amp;`",
}
SUBJECTS = {"86005": "<svg onload=document.title='taken'>", "86006": "a&scope=everything#\"' hx-get=/policy"}


@pytest.fixture(scope="module", autouse=True)
def callers(running: Running) -> None:
    for number, name in NAMES.items():
        running.complete(running.exchange(running.mint(number, repository=name)).json["access_token"])
        running.exchange(running.mint(number, repository=name, repository_owner_id="1"))  # refused, so in the audit
    for number, text in SUBJECTS.items():
        running.complete(running.exchange(running.mint(number + text)).json["access_token"])


@pytest.mark.parametrize("path", ["", "principals", "grants", "keys", "audit", "policy"])
def test_hostile_names_are_text_on_lists(path: str, window: Window, console: ConsoleProcess) -> None:
    """Nothing of a name becomes an element, an attribute, or a change of the text's direction around it."""
    window.page.goto(console.url + path)
    window.page.wait_for_load_state("networkidle")
    assert_text_only(window)


@pytest.mark.parametrize("number", [*NAMES, *SUBJECTS])
def test_hostile_names_are_text_wherever_they_lead(
    number: str, window: Window, console: ConsoleProcess, running: Running
) -> None:
    """From the list by its own link to the principal, its sparkline, its trail, its revocation and its proof."""
    page, sub = window.page, running.sub(number + SUBJECTS.get(number, ""))
    page.goto(f"{console.url}principals?q={number}")
    assert "1 of " in page.locator("#found").inner_text()
    page.locator("#found svg.spark").wait_for()
    assert_text_only(window)
    page.locator("#found td:first-child a").click()
    assert page.locator("main p code").first.inner_text() == sub
    assert_text_only(window)
    page.get_by_role("link", name="All of its events").click()
    assert page.locator("input[name=principal]").input_value() == sub
    assert page.locator("tbody tr").count() >= 1
    assert_text_only(window)
    page.goto(console.of(sub))
    page.get_by_role("link", name="Revoke…").click()
    assert page.locator("input[name=scope]").input_value() == "principal"
    assert page.locator("input[name=id]").input_value() == sub
    page.get_by_label("Reason").fill("<b>reason</b> \u202eback")
    page.get_by_role("button", name="Revoke now").click()
    page.locator("#proof").wait_for()
    with page.expect_response(lambda answer: "/proof?" in answer.url):
        pass
    assert_text_only(window)
    assert "<b>reason</b>" in page.locator("#proof").inner_text()
    page.get_by_role("button", name="Restore").click()
    page.get_by_role("link", name="Revoke…").wait_for()


def assert_text_only(window: Window) -> None:
    page = window.page
    assert page.title() != "taken"
    assert page.locator("main script, main img, main b, main iframe, [onload], [onerror], [onfocus]").count() == 0
    assert page.locator("main svg:not(.spark)").count() == 0
    assert not any(one in page.locator("body").inner_text() for one in "\u202e\u2066")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("[hx-get]").evaluate_all(
        "all => all.every((one) => /^\\/(spark\\?id=|proof\\?id=|principals$|$)/.test(one.getAttribute('hx-get')))"
    )
