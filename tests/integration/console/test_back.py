"""The browser's "back" shows what is true, with the pages that it keeps for that: Chromium as people run it, not as Playwright does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.console.console_process import ConsoleProcess
from tests.integration.console.window import ARGUMENTS, CHROMIUM, Window, open_window
from tests.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def keeping(browser: Browser) -> Iterator[Browser]:
    """A browser that keeps pages for "back"."""
    started = browser.browser_type.launch(
        executable_path=CHROMIUM, args=ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
    )
    yield started
    started.close()


@pytest.mark.parametrize("runs_scripts", [True, False], ids=["script", "no script"])
def test_back_asks_anew(runs_scripts: bool, keeping: Browser, console: ConsoleProcess, running: Running) -> None:  # noqa: FBT001  a parameter of the test
    """After a revocation the pages before it, reached by "back", do not offer to revoke again; no script is needed for that."""
    number = f"8100{6 + runs_scripts}"
    running.complete(running.token(number))
    window = open_window(keeping, console.enter, java_script_enabled=runs_scripts)
    page = window.page
    page.goto(console.of(running.sub(number)))
    page.get_by_role("link", name="Revoke…").click()
    page.get_by_role("button", name="Revoke now").click()
    page.locator("#proof").wait_for()
    back(window, "**/revoke?**")
    back(window, "**/principal?**")
    page.locator("#proof").get_by_text("Cut off", exact=True).wait_for()
    assert page.get_by_role("link", name="Revoke…").count() == 0
    window.context.close()


def back(window: Window, address: str) -> None:
    """Go back as people do; Playwright's own waiting knows no page that was kept."""
    from playwright.sync_api import Error  # noqa: PLC0415  there where the browser is

    ends = time.monotonic() + 10
    while True:
        try:
            window.page.go_back(wait_until="commit")
            break
        except Error as fault:  # the page that was kept takes the other's place just now: nothing was done
            if "Not attached to an active page" not in str(fault) or time.monotonic() > ends:
                raise
            window.page.wait_for_timeout(200)
    window.page.wait_for_url(address, wait_until="commit")
