"""A keyboard alone: where the focus goes, and that it stays there while a live part is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.console.console_process import ConsoleProcess
from tests.integration.console.window import Window
from tests.running import Running, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

ACTIVE = "document.activeElement.textContent.trim()"


def test_the_first_tab_skips_to_the_content(window: Window) -> None:
    """The skip link comes first, is seen when it has the focus, and leads past the navigation."""
    page = window.page
    page.keyboard.press("Tab")
    assert page.evaluate(ACTIVE) == "Skip to the content"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_tab_goes_through_the_pages_in_their_order(window: Window) -> None:
    """After the skip link: the pages as they are shown, each with a focus that can be seen."""
    page = window.page
    page.keyboard.press("Tab")
    for name in ("Now", "Principals", "Grants", "Keys", "Audit", "Policy"):
        page.keyboard.press("Tab")
        assert page.evaluate(ACTIVE) == name
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_revoke_and_restore_without_a_mouse(window: Window, console: ConsoleProcess, running: Running) -> None:
    """Search by typing, Tab to the action, Enter, Enter: the button that confirms has the focus; so is the way back."""
    running.complete(running.exchange(running.mint("85001", repository="octo-org/keys-only")).json["access_token"])
    page = window.page
    page.goto(f"{console.url}principals")
    tab_to(page, "document.activeElement.name === 'q'")
    page.keyboard.type("keys-only")
    page.wait_for_url("**q=keys-only**")  # by typing alone: the address is replaced, and the page is the same
    page.evaluate("window.isTheSame = true")
    page.keyboard.press("Enter")
    page.wait_for_function("!window.isTheSame")
    tab_to(page, f"{ACTIVE}.startsWith('Revoke')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/revoke?**")
    assert page.evaluate(ACTIVE) == "Revoke now"
    page.keyboard.press("Enter")
    page.locator("#proof").wait_for()
    tab_to(page, f"{ACTIVE} === 'Restore'")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Revoke…").wait_for()


def test_the_focus_stays_while_the_live_part_is_replaced(window: Window, running: Running) -> None:
    """A user who has reached a row's link, or opened a table, still has it after the numbers were renewed twice."""
    running.complete(running.exchange(running.mint("85002", repository="octo-org/stay")).json["access_token"])
    page = window.page
    page.reload()
    page.get_by_text("As a table").first.click()
    link = page.get_by_role("link", name="Revoke octo-org/stay")
    link.focus()
    href = link.get_attribute("href")
    page.evaluate("window.swaps = 0; document.addEventListener('htmx:afterSettle', () => window.swaps++)")
    wait_until(lambda: page.evaluate("window.swaps") >= 2, 20)
    assert page.evaluate("document.activeElement.getAttribute('href')") == href
    assert page.locator("details").first.get_attribute("open") is not None


def test_typing_keeps_the_focus_in_the_search(window: Window, console: ConsoleProcess, running: Running) -> None:
    """Results are replaced under a search while it is typed in; the field keeps what was typed, and the focus."""
    running.exchange(running.mint("85003", repository="octo-org/typed"))
    page = window.page
    page.goto(f"{console.url}principals")
    page.get_by_label("Search").press_sequentially("octo-org/typed", delay=60)
    page.get_by_text("1 of ").wait_for()
    assert page.evaluate("document.activeElement.value") == "octo-org/typed"
    # So that it can be sent to someone, and loaded again.
    page.wait_for_url("**/principals?q=octo-org%2Ftyped&sort=calls")


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until something has the focus; fails when it is not reached."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(wanted):
            return
    raise AssertionError(f"not reached by Tab: {wanted}")
