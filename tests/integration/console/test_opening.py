"""Opening the console: by a file that nobody else can read, or by an address that works once."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.integration.console.console_process import ConsoleProcess, spawned, variables
from tests.integration.console.window import Window
from tests.running import Running, wait_until

WINDOWS = Callable[..., Window]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to read other processes' arguments")
def test_the_secret_is_in_no_argument(running: Running, windows: WINDOWS, tmp_path: Path) -> None:
    """A browser is given a file of mode 0600; no process on this machine has the address among its arguments."""
    program = tmp_path / "browser"
    program.write_text(
        f'#!/bin/sh\necho "$1" > {tmp_path}/opened.part && mv {tmp_path}/opened.part {tmp_path}/opened\nsleep 2\n'
    )
    program.chmod(0o700)
    with spawned(variables(running, BROWSER=f"{program} %s &", TMPDIR=str(tmp_path)), []) as process:
        wait_until((tmp_path / "opened").exists)
        commands = [command(one) for one in Path("/proc").iterdir() if one.name.isdigit()]
        given = (tmp_path / "opened").read_text().strip()
        file = Path(urlsplit(given).path)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        address = file.read_text().split("url=")[1].split('"')[0]
        secret = parse_qs(urlsplit(address).query)["secret"][0]
        assert len(secret) >= 43
        assert any(file.name in one for one in commands)
        assert not any(secret in one for one in commands)
        window = windows()
        window.page.goto(given)
        window.page.wait_for_url(address.split("enter?")[0])
        assert window.page.locator("h1").inner_text() == "Now"
        process.terminate()
        process.wait(15)
    assert not file.exists()


def command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_the_address_works_once(console: ConsoleProcess, windows: WINDOWS) -> None:
    """Anyone who finds the address afterwards, in a history say, is shown nothing, in any browser but the one that opened it."""
    first, second = windows(console.enter), windows()
    second.page.goto(console.enter)
    assert second.page.title() == "Open this console from your terminal"
    for path in ("", "principals", "audit", "audit/export", "proof", "spark"):
        assert second.page.goto(console.url + path).status == 403
        assert "octo-org" not in second.page.content()
    assert console.enter not in (first.page.url, second.page.evaluate("document.referrer"))
    first.page.reload()
    assert first.page.locator("h1").inner_text() == "Now"


def test_the_cookie_is_out_of_a_scripts_reach(console: ConsoleProcess, windows: WINDOWS) -> None:
    """The session's cookie is HttpOnly and SameSite=Strict, ends with the browser, and names its port."""
    window = windows(console.enter)
    (cookie,) = window.context.cookies()
    assert window.page.evaluate("document.cookie") == ""
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
    assert cookie["name"].endswith(str(console.port))


def test_nothing_is_kept_in_the_browser(console: ConsoleProcess, windows: WINDOWS) -> None:
    """Names that were shown are neither in the browser's storage nor in its cache."""
    window = windows(console.enter)
    window.page.get_by_role("link", name="Principals").click()
    window.page.wait_for_load_state("networkidle")
    # htmx keeps the address of the page, which names nobody here.
    kept = "[...Object.entries(localStorage), ...Object.entries(sessionStorage)]"
    assert window.page.evaluate(kept) == [["htmx-current-path-for-history", "/principals"]]
    assert window.page.evaluate("caches.keys()") == []
    answer = window.context.request.get(console.url)
    assert answer.headers["cache-control"] == "no-store"
