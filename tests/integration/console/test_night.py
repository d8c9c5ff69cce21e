"""At night: someone calls who should not. Found, cut off, proved, and let in again, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.console.console_process import ConsoleProcess
from tests.integration.console.window import Window
from tests.running import Running, wait_until

HAMMER = Callable[[str], None]


def called(running: Running, number: str, name: str) -> str:
    """Return the token of a principal that has called once."""
    token = running.exchange(running.mint(number, repository=name)).json["access_token"]
    assert running.complete(token).status == 200
    return str(token)


def number_in(window: Window, place: str) -> int:
    return int(window.page.locator(place).inner_text().replace(",", ""))


def test_found_by_name_and_cut_off_with_two_clicks(window: Window, running: Running, hammer: HAMMER) -> None:
    """While it calls on and on: a name, two clicks, then none admitted and ever more refused; one click restores it."""
    page = window.page
    token = called(running, "81001", "octo-org/night-caller")
    hammer(token)
    page.get_by_role("link", name="Principals").click()
    page.get_by_label("Search").type("night-call")
    page.get_by_text("1 of ").wait_for()
    page.get_by_role("link", name="Revoke octo-org/night-caller").click()
    assert "This cuts off 1 principal with 1 token alive" in window.text()
    page.get_by_role("button", name="Revoke now").click()
    page.wait_for_url("**/principal?**")
    assert running.complete(token).json["error"]["code"] == "revoked"
    wait_until(lambda: page.locator("#refused-since").inner_text() not in ("0", "-"))
    before = number_in(window, "#refused-since")
    wait_until(lambda: page.evaluate("Number(document.querySelector('#refused-since').textContent)") > before)
    assert number_in(window, "#admitted") == 0
    page.get_by_role("button", name="Restore").click()
    page.get_by_role("link", name="Revoke…").wait_for()
    assert running.complete(token).status == 401
    assert running.complete(called(running, "81001", "octo-org/night-caller")).status == 200


def test_what_is_confirmed_twice_is_one_revocation(window: Window, console: ConsoleProcess, running: Running) -> None:
    """A double click, or the same form sent again, makes no second revocation."""
    called(running, "81002", "octo-org/twice")
    window.page.goto(console.revoke(running.sub("81002")))
    fields = window.page.evaluate("Object.fromEntries(new FormData(document.querySelector('main form')))")
    window.page.get_by_role("button", name="Revoke now").dblclick()
    window.page.locator("#proof").get_by_text("Cut off", exact=True).wait_for()
    again = window.context.request.post(
        f"{console.url}revoke", form=fields, headers={"origin": console.url.rstrip("/")}, max_redirects=0
    )
    assert again.status == 303
    assert len(revocations(running, "81002")) == 1


def test_two_windows_revoke_the_same(window: Window, console: ConsoleProcess, running: Running) -> None:
    """Who confirms second is shown that it is cut off, not an error; each window's page is true after one of them restores."""
    called(running, "81003", "octo-org/both")
    second = window.context.new_page()
    for page in (window.page, second):
        page.goto(console.revoke(running.sub("81003")))
    for page in (window.page, second):
        page.get_by_role("button", name="Revoke now").click()
        page.locator("#proof").get_by_text("Cut off", exact=True).wait_for()
        assert page.locator("#admitted").inner_text() in ("0", "-")
    window.page.get_by_role("button", name="Restore").click()
    window.page.wait_for_load_state()
    second.reload()
    assert in_force(running, "81003") == ("Cut off" in second.locator("main").inner_text())


def test_a_frozen_key_is_seen_on_the_first_page(window: Window, console: ConsoleProcess, running: Running) -> None:
    """A freeze stands above everything else, with who did it and why, until it is ended there."""
    called(running, "81005", "octo-org/frozen")
    window.page.goto(f"{console.url}keys")
    window.page.get_by_role("link", name="Freeze anthropic").click()
    window.page.get_by_label("Reason").fill("it was in a log")
    window.page.get_by_role("button", name="Revoke now").click()
    banner = window.page.locator(".frozen")
    banner.wait_for()
    assert "key anthropic" in banner.inner_text()
    assert "it was in a log" in banner.inner_text()
    assert "practice-admin" in banner.inner_text()
    banner.get_by_role("button", name="Restore").click()
    window.page.locator(".frozen").wait_for(state="detached")


def revocations(running: Running, number: str) -> list[dict[str, object]]:
    found = running.administer("GET", "/admin/revocations?limit=200&scope=principal").json["items"]
    return [one for one in found if one["target"] == running.sub(number)]


def in_force(running: Running, number: str) -> bool:
    return any(one["in_force"] for one in revocations(running, number))
