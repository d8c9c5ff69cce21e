"""A browser, a console, and a window on it. `make test-console` brings what this needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.console.console_process import ConsoleProcess, console_of
from tests.integration.console.window import ARGUMENTS, CHROMIUM, Window, open_window
from tests.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-console brings Playwright")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not there: make test-console brings it")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def console(running: Running) -> Iterator[ConsoleProcess]:
    with console_of(running) as one:
        yield one


@pytest.fixture
def window(browser: Browser, console: ConsoleProcess) -> Iterator[Window]:
    """A window in which the console was opened; a test that does not look for faults itself has none."""
    one = open_window(browser, console.enter, viewport={"width": 1280, "height": 900})
    yield one
    one.context.close()
    assert one.faults() == []


@pytest.fixture
def windows(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Opens windows that a test looks at itself."""
    opened: list[Window] = []

    def make(enter: str = "", **options: Any) -> Window:  # noqa: ANN401  Playwright's
        opened.append(open_window(browser, enter, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()


@pytest.fixture
def hammer(running: Running) -> Iterator[Callable[[str], None]]:
    """Makes calls with a token, on and on, until the test ends."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(token: str) -> None:
        def calls() -> None:
            while not stop.wait(0.02):
                running.complete(token)

        threads.append(threading.Thread(target=calls))
        threads[-1].start()

    yield start
    stop.set()
    for one in threads:
        one.join(30)
