"""A browser that runs no scripts: everything but the drawings and the renewal by itself works."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.console.console_process import ConsoleProcess
from tests.integration.console.window import Window
from tests.running import Running


def test_reading_and_revoking_need_no_script(
    console: ConsoleProcess, windows: Callable[..., Window], running: Running
) -> None:
    """Search, sort, the numbers behind a plot, a revocation with its proof, a restoration: all by links and forms."""
    token = running.exchange(running.mint("84001", repository="octo-org/no-script")).json["access_token"]
    running.complete(token)
    page = windows(console.enter, java_script_enabled=False).page
    page.get_by_text("As a table").first.click()
    assert page.get_by_role("region", name="Calls by minute, the last hour, as a table").is_visible()
    page.goto(f"{console.url}principals")
    page.get_by_label("Search").fill("no-script")
    page.get_by_label("Sort by").select_option("name")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="octo-org/no-script", exact=True).click()
    page.get_by_role("link", name="Revoke…").click()
    page.get_by_label("Reason").fill("no script")
    page.get_by_role("button", name="Revoke now").click()
    assert "Cut off since" in page.locator("#proof").inner_text()
    assert running.complete(token).status == 403
    page.reload()
    assert page.locator("#admitted").inner_text() == "0"
    assert page.locator("#refused-since").inner_text() == "1"
    page.get_by_role("button", name="Restore").click()
    page.get_by_role("link", name="Revoke…").wait_for(state="visible")
    assert page.get_by_role("button", name="Copy").count() == 0
