"""Every page, in light and dark, wide and narrow: nothing of it is refused, fails, leaves this machine, or keeps people out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.console.console_process import ConsoleProcess, console_of
from tests.integration.console.window import Window, open_window
from tests.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
RULES = "['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']"
ASK_AXE = f"""axe.run(document, {{runOnly: {RULES}}}).then((found) => found.violations.map(
    (one) => one.id + ": " + one.nodes.map((node) => node.html.slice(0, 200)).join(" | ")))"""
PAGES = ("now", "principals", "principal", "revoke", "proof", "grants", "keys", "rotate", "audit", "policy", "missing", "unknown")  # fmt: skip
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
    "narrow and dark": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
    "forced colors": {
        "forced_colors": "active",
        "reduced_motion": "reduce",
        "viewport": {"width": 1280, "height": 900},
    },
}


@pytest.fixture(scope="module", params=LOOKS)
def looked_at(
    request: pytest.FixtureRequest, browser: Browser, running: Running
) -> Iterator[tuple[ConsoleProcess, Window]]:
    """A window of each kind, with someone to look at and someone who is cut off."""
    if running.exchange(running.mint("83002")).status == 200:  # the first time
        running.complete(running.token("83001", owner="7"))
        running.revoke("principal", running.sub("83002"))
    running.exchange(running.mint("83003", repository_owner_id="1"))
    with console_of(running) as console:
        window = open_window(browser, console.enter, **LOOKS[request.param])
        yield console, window
        window.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_open_to_all(name: str, looked_at: tuple[ConsoleProcess, Window], running: Running) -> None:
    """No violation of the policy, no error, no request elsewhere, no sideways scrolling; axe finds nothing by WCAG 2.2 AA."""
    console, window = looked_at
    window.said.clear()
    window.page.goto(address(name, console, running))
    window.page.wait_for_load_state("networkidle")
    if name not in ("missing", "unknown"):
        assert window.faults() == []
    assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    window.page.evaluate(AXE.read_text(encoding="utf-8"))
    assert window.page.evaluate(ASK_AXE) == []
    assert [one for one in window.requests if not one.startswith(console.url)] == []


def address(name: str, console: ConsoleProcess, running: Running) -> str:
    """Return a page's address."""
    return {
        "now": console.url,
        "principal": console.of(running.sub("83001")),
        "revoke": console.revoke(running.sub("83001")),
        "proof": console.of(running.sub("83002")),
        "rotate": f"{console.url}keys/action?name=openai&action=rotate",
        "unknown": console.of("https://nobody.example|sub:1"),
    }.get(name, console.url + name)


@pytest.mark.parametrize("form", ["grants", "policy"])
def test_what_a_form_answers_is_open_to_all(form: str, looked_at: tuple[ConsoleProcess, Window]) -> None:
    """The answers to a pasted identity and to another policy are as readable as the pages."""
    console, window = looked_at
    page = window.page
    page.goto(console.url + form)
    if form == "grants":
        page.get_by_label("Claims as JSON").fill('{"iss": "https://ci.example", "repository_owner_id": "9919"}')
        page.get_by_role("button", name="Explain").click()
    else:
        text = page.get_by_label("The policy in force").inner_text()
        page.get_by_label("Drop a file here").fill(text.replace("1000/hour", "10/hour"))
        page.get_by_role("button", name="Compare").click()
    page.locator(".banner").first.wait_for()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate(ASK_AXE) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_headings_are_in_order(window: Window, console: ConsoleProcess) -> None:
    """Each page has one h1, and no level is left out."""
    for name in ("", "principals", "grants", "keys", "audit", "policy"):
        window.page.goto(console.url + name)
        levels = window.page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((h) => Number(h.tagName[1]))")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
