"""A browser's window on the console, which notes whatever a page must not do."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
# Chromium has no sandbox for root; these pages are our own. What ends in .example is this machine: so may an attacker's names be.
ARGUMENTS = [
    "--host-resolver-rules=MAP *.example 127.0.0.1",
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
]
_WATCH = """window.addEventListener("securitypolicyviolation", (e) => console.error("Content Security Policy: " + e.violatedDirective));"""


@dataclass
class Window:
    """One browser profile with one page. said: errors that the browser wrote to its console."""

    context: BrowserContext
    page: Page
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return what is wrong with the pages so far: errors, violations, requests that left this machine."""
        return [*self.said, *(one for one in self.requests if urlsplit(one).hostname != "127.0.0.1")]

    def text(self) -> str:
        """Return what the page shows."""
        return str(self.page.locator("body").inner_text())


def open_window(browser: Browser, enter: str = "", **options: Any) -> Window:  # noqa: ANN401  Playwright's
    """Open a window of a new profile, and the console in it if its address is given."""
    context = browser.new_context(**options)
    context.set_default_timeout(15_000)
    window = Window(context, context.new_page())
    watch(window, window.page)
    if enter:
        window.page.goto(enter)
        window.page.wait_for_url(enter.split("enter?", maxsplit=1)[0])
    return window


def watch(window: Window, page: Page) -> None:
    """Note what a page does."""
    page.add_init_script(_WATCH)
    page.on("console", lambda message: window.said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: window.said.append(str(error)))
    page.on("request", lambda request: window.requests.append(request.url))
