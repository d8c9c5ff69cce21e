"""What another site's page, open in the same browser, can do to a console: nothing, and it learns nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.console.console_process import ConsoleProcess
from tests.integration.console.other_site import OtherSite, other_site
from tests.integration.console.window import Window
from tests.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Page

WINDOWS = Callable[..., Window]
# The same machine on another port is the same *site* to a browser, so that it sends the cookie along.
ORIGINS = ("http://attacker.example", "http://127.0.0.1")


@pytest.fixture(scope="module")
def site() -> Iterator[OtherSite]:
    with other_site() as one:
        yield one


@pytest.fixture(params=ORIGINS, ids=["another site", "another port"])
def beside(request: pytest.FixtureRequest, console: ConsoleProcess, windows: WINDOWS, site: OtherSite) -> Page:
    """Another site's page in a browser in which the console is open."""
    page = windows(console.enter).context.new_page()
    page.goto(f"{request.param}:{site.port}/")
    return page


POST = """async ([url, fields]) => {
  const form = document.createElement("form");
  form.method = "post"; form.action = url;
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input"); input.name = name; input.value = value; form.append(input);
  }
  document.body.append(form); form.submit();
}"""


def test_a_form_of_another_site_changes_nothing(beside: Page, console: ConsoleProcess, running: Running) -> None:
    """A form that posts a revocation is refused before anything is looked at, cookie or not."""
    token = running.token("87001")
    with beside.expect_response(f"{console.url}revoke") as response:
        beside.evaluate(POST, [f"{console.url}revoke", {"scope": "principal", "id": running.sub("87001")}])
    assert response.value.status == 403
    assert running.complete(token).status == 200


def test_a_script_of_another_site_reads_nothing(beside: Page, console: ConsoleProcess) -> None:
    """fetch, an image, a script, a frame and a style sheet of the console are refused or blocked."""
    for mode in ("cors", "no-cors"):
        asked = f"fetch('{console.url}principals', {{credentials: 'include', mode: '{mode}'}})"
        assert beside.evaluate(f"{asked}.then((a) => a.type, () => 'failed')") == "failed"
    for tag, source in (("img", "src"), ("script", "src"), ("link", "href")):
        file = {"img": "icon.svg", "script": "console.js", "link": "console.css"}[tag]
        made = f"""new Promise((done) => {{ const one = document.createElement('{tag}'); one.rel = 'stylesheet';
            one.onload = () => done('loaded'); one.onerror = () => done('failed');
            one.{source} = '{console.url}static/{file}'; document.body.append(one); }})"""
        assert beside.evaluate(made) == "failed", tag
    with beside.expect_response(console.url + "**") as response:
        beside.evaluate(f"const f = document.createElement('iframe'); f.src = '{console.url}'; document.body.append(f)")
    assert response.value.status == 403


def test_a_window_of_another_site_holds_no_handle(beside: Page, console: ConsoleProcess) -> None:
    """A site that opens the console in a window cannot look into it, nor steer it."""
    with beside.expect_popup() as popup:
        beside.evaluate(f"window.opened = open('{console.url}')")
    popup.value.wait_for_load_state()
    beside.wait_for_function("window.opened.closed")
    assert popup.value.evaluate("window.opener") is None


def test_a_link_from_elsewhere_shows_nothing(console: ConsoleProcess, windows: WINDOWS, site: OtherSite) -> None:
    """Who follows a link from another site is shown no data, but a link; following that is the person's own doing."""
    page = windows(console.enter).context.new_page()
    page.goto(f"http://attacker.example:{site.port}/")
    page.evaluate(f"document.body.innerHTML = '<a href=\"{console.url}principals\">look</a>'")
    page.get_by_role("link", name="look").click()
    page.wait_for_url(f"{console.url}principals")
    assert page.title() == "This address was opened from another page"
    assert page.locator("table").count() == 0
    page.get_by_role("link", name="Go on").click()
    page.get_by_role("heading", name="Principals").wait_for()


def test_a_link_that_would_revoke_only_asks(console: ConsoleProcess, windows: WINDOWS, running: Running) -> None:
    """No GET changes anything: an address of the confirming page, wherever it comes from, only asks."""
    token = running.token("87002")
    page = windows(console.enter).page
    page.goto(console.revoke(running.sub("87002")))
    page.reload()
    assert running.complete(token).status == 200


@pytest.mark.parametrize("path", ["", "enter?secret=x", "static/console.css", "principals"])
def test_a_name_that_points_here_is_refused(path: str, console: ConsoleProcess, windows: WINDOWS) -> None:
    """DNS rebinding: under any other name for this machine everything is refused, the files too."""
    window = windows(console.enter)
    for host in ("rebound.example", "localhost"):
        address = f"http://{host}:{console.port}/{path}"
        # A browser calls an answer without a body a failure.
        with window.page.expect_response(address) as response, contextlib.suppress(Exception):
            window.page.goto(address)
        assert response.value.status == 421


def test_a_form_without_our_token_changes_nothing(console: ConsoleProcess, windows: WINDOWS, running: Running) -> None:
    """A POST of our own origin with the cookie, but without the token or with another one, is refused and says so."""
    token = running.token("87003")
    page = windows(console.enter).page
    for fields in ({}, {"csrf": ""}, {"csrf": "A" * 43}):
        with page.expect_navigation() as navigation:
            page.evaluate(POST, [f"{console.url}revoke", {"scope": "principal", "id": running.sub("87003"), **fields}])
        assert navigation.value.status == 403
        assert page.title() == "This form is not from this console"
    assert running.complete(token).status == 200


def test_another_port_is_sent_the_cookie(console: ConsoleProcess, windows: WINDOWS, site: OtherSite) -> None:
    """Cookies know no ports: another program at 127.0.0.1 that the browser visits gets it (docs/console.md says what follows)."""
    page = windows(console.enter).context.new_page()
    page.goto(f"http://attacker.example:{site.port}/")
    page.goto(f"http://127.0.0.1:{site.port}/")
    assert f"keybroker-console-{console.port}=" in site.cookies[-1]
    page.goto(f"http://attacker.example:{site.port}/")
    assert site.cookies[-1] == ""
