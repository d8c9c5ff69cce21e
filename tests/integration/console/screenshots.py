"""Takes the pictures in docs/console: each page, light, dark and narrow. `make screenshots` runs it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.console.console_process import ConsoleProcess, console_of
from tests.integration.console.window import ARGUMENTS, CHROMIUM, open_window
from tests.running import ROOT, Running, start

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = ROOT / "docs" / "console"
LIMIT = 120 * 1024
LOOKS = {"": ("light", 1280), "-dark": ("dark", 1280), "-narrow": ("light", 390)}
_CAUGHT = "5003"


def main() -> None:
    """Take them all; a picture that is too large is an error."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only make test-console brings it

    FOLDER.mkdir(exist_ok=True)
    with start() as running:
        tokens = callers(running)
        stop = threading.Event()
        thread = threading.Thread(target=busy, args=(running, tokens, stop))
        thread.start()
        try:
            with console_of(running) as console, sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, "--disable-lcd-text"])
                window = open_window(browser, console.enter, viewport={"width": 1280, "height": 800})
                for name, take in PAGES.items():
                    take(window.page, console, running)
                    pictures(window.page, name)
                browser.close()
        finally:
            stop.set()
            thread.join(30)
    for file in FOLDER.glob("*.png"):
        assert file.stat().st_size <= LIMIT, f"{file.name} has {file.stat().st_size} bytes"


def callers(running: Running) -> list[str]:
    """Let some services call, and return their tokens."""
    tokens = []
    for number in range(14):
        name = f"octo-org/{('web', 'search', 'report', 'night-job', 'mail', 'import', 'eval')[number % 7]}-{number // 7 + 1}"
        tokens.append(running.exchange(running.mint(str(5000 + number), repository=name)).json["access_token"])
    for number in range(3):
        running.exchange(
            running.mint(str(6000 + number), repository=f"stranger/fork-{number}", repository_owner_id="1")
        )
    small = running.exchange(running.mint("77", repository="octo-org/small", repository_owner_id="7")).json[
        "access_token"
    ]
    for _ in range(8):
        running.complete(small)
    return tokens


def busy(running: Running, tokens: list[str], stop: threading.Event) -> None:
    """Call on and on, each at its own rate."""
    turn = 0
    while not stop.wait(0.02):
        turn += 1
        for index in (3, turn % 7, turn % 14):
            running.complete(tokens[index])


def open_page(path: str) -> Callable[[Page, ConsoleProcess, Running], None]:
    def take(page: Page, console: ConsoleProcess, _running: Running) -> None:
        page.goto(console.url + path)

    return take


def principal(page: Page, console: ConsoleProcess, running: Running) -> None:
    page.goto(console.of(running.sub(_CAUGHT)))


def revoke(page: Page, console: ConsoleProcess, running: Running) -> None:
    page.goto(console.revoke(running.sub(_CAUGHT)))
    page.get_by_label("Reason").fill("calls at 3 at night")


def proof(page: Page, _console: ConsoleProcess, _running: Running) -> None:
    page.get_by_role("button", name="Revoke now").click()
    page.locator("#proof").wait_for()
    time.sleep(6)


def explained(page: Page, console: ConsoleProcess, running: Running) -> None:
    page.goto(f"{console.url}grants")
    claims = f'{{"iss": "{running.issuer}", "repository_owner_id": "1", "repository_id": "6000"}}'
    page.get_by_label("Claims as JSON").fill(claims)
    page.get_by_role("button", name="Explain").click()


def compared(page: Page, console: ConsoleProcess, _running: Running) -> None:
    page.goto(f"{console.url}policy")
    text = page.get_by_label("The policy in force").inner_text()
    page.get_by_label("Drop a file here").fill(text.replace("calls: [5/day]", "calls: [50/day]"))
    page.get_by_role("button", name="Compare").click()


PAGES = {
    "now": open_page(""),
    "principals": open_page("principals"),
    "principal": principal,
    "revoke": revoke,
    "proof": proof,
    "grants": explained,
    "keys": open_page("keys"),
    "audit": open_page("audit"),
    "policy": compared,
}


def pictures(page: Page, name: str) -> None:
    """Take a page's pictures as it is now, and leave it as it was."""
    for suffix, (scheme, width) in LOOKS.items():
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(700)
        page.wait_for_load_state("networkidle")
        save(page.screenshot(animations="disabled"), FOLDER / f"{name}{suffix}.png")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light")


def save(png: bytes, path: Path) -> None:
    """Save a picture with 64 colors: the pages have few, and a repository keeps every version of it."""
    from PIL import Image  # noqa: PLC0415  only make test-console brings it

    with Image.open(io.BytesIO(png)) as taken:
        taken.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
