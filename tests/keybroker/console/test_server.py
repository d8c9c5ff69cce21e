"""The console's server, by real requests to a real process."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from keybroker.console.server import HEADERS, STATIC
from tests.keybroker.console.browser import VISIT, Browser
from tests.keybroker.console.conftest import console
from tests.running import Running

PAGES = (
    "/",
    "/principals",
    "/principal?id=nobody",
    "/grants",
    "/keys",
    "/audit",
    "/policy",
    "/nothing",
    "/static/console.css",
)


def test_every_answer_is_strict(browser: Browser) -> None:
    """Every answer has the strict headers, whatever its status, and nothing says what serves it."""
    answers = [browser.get(path) for path in PAGES]
    answers += [browser.send("GET", "/", {"host": "evil.example"}), browser.send("OPTIONS", "/"), browser.get("/enter")]
    for answer in answers:
        kept = {name.lower(): value for name, value in HEADERS.items() if name != "Cache-Control"}
        assert kept.items() <= answer.headers.items()
        assert "python" not in answer.headers["server"].lower()
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert browser.get("/").headers["cache-control"] == "no-store"
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_the_cookie_is_of_this_port_alone(browser: Browser) -> None:
    """The cookie is named with the port, and neither scripts nor other sites get it."""
    [name] = browser.cookies
    assert name == f"keybroker-console-{browser.host.rpartition(':')[2]}"


def test_without_the_cookie_there_is_no_data(running: Running) -> None:
    """A browser that has not opened it, opens it a second time, or has another cookie gets a page without data."""
    with console(running) as opened:
        stranger = Browser(opened.address, opened.pid)
        assert stranger.get("/").status == 403
        entered = opened.enter()
        assert entered.status == 200
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(entered.headers["set-cookie"].split("; "))
        assert opened.get("/").status == 200
        assert stranger.enter().status == 403
        for page in PAGES[:-1]:
            answer = stranger.get(page)
            assert (answer.status, "Open this console from your terminal" in answer.body) == (403, True)
        [name] = opened.cookies
        stranger.cookies = {name: "x" * 43}
        assert stranger.get("/").status == 403


def test_another_host_gets_nothing(browser: Browser) -> None:
    """A name that leads here, with the right cookie, gets nothing: neither pages nor files."""
    cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    for host in ("evil.example", browser.host.replace("127.0.0.1", "localhost"), "127.0.0.1"):
        for path in ("/", "/static/htmx.min.js"):
            answer = browser.send("GET", path, {**VISIT, **cookie, "host": host})
            assert (answer.status, answer.body) == (421, "")


def test_a_link_from_elsewhere_shows_nothing(browser: Browser) -> None:
    """A link from another site leads to a page with a link, as the browser keeps the cookie back."""
    browser.cookies = {}
    answer = browser.get("/principals", sec_fetch_site="cross-site")
    assert (answer.status, "Go on" in answer.body) == (403, True)
    assert browser.get("/", sec_fetch_site="cross-site", sec_fetch_dest="iframe").body == ""


def test_a_form_needs_its_token(browser: Browser) -> None:
    """A change without the session's CSRF token, with another's, or from another origin changes nothing."""
    form = {"scope": "grant", "id": "small", "reason": "x", "key": "k" * 32}
    right = browser.get("/revoke?scope=grant&id=small").inputs()["csrf"]
    for wrong in ({}, {"csrf": ""}, {"csrf": "x" * 43}):
        answer = browser.post("/revoke", {**form, **wrong})
        assert (answer.status, "Nothing was changed" in answer.text) == (403, True)
    assert browser.post("/revoke", {**form, "csrf": right}, origin="http://evil.example").status == 403
    assert browser.post("/revoke", {**form, "csrf": right}, sec_fetch_site="cross-site").status == 403
    assert "small" not in browser.get("/").text.partition("Frozen")[2].partition("Calls this hour")[0]


def test_static_files_are_those_that_are_shipped(browser: Browser) -> None:
    """What is in the folder is served, by its name alone."""
    for path in sorted(STATIC.iterdir()):
        assert browser.get(f"/static/{path.name}").status == 200
    for path_ in ("/static/", "/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/static/x"):
        assert browser.get(path_).status == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: {host}\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: {host}\r\n" + b"".join(b"x%d: y\r\n" % number for number in range(200)) + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        b"POST /revoke HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: 9999999\r\n\r\n",
        b"POST /revoke HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_rubbish_is_refused(browser: Browser, sent: bytes) -> None:
    """What no browser sends is refused or hung up on, and the next page comes all the same."""
    host, _, port = browser.host.partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(sent.replace(b"{host}", browser.host.encode()))
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    status = answer.split(b" ")[1] if answer.startswith(b"HTTP/") else b"closed"
    assert status in (b"400", b"403", b"404", b"411", b"413", b"414", b"421", b"431", b"closed"), answer[:200]
    assert browser.get("/").status == 200


def test_the_secret_is_in_no_argument(browser: Browser) -> None:
    """The process list shows nothing that opens it."""
    secret = browser.address.partition("secret=")[2]
    [cookie] = browser.cookies.values()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes()
        except OSError:
            continue  # it ended meanwhile
        assert secret.encode() not in arguments
        assert cookie.encode() not in arguments


def test_two_consoles_run_beside_each_other(running: Running) -> None:
    """The first has the usual port, so that addresses can be shared, and a second one any."""
    with console(running) as first, console(running) as second:
        ports = {int(one.host.rpartition(":")[2]) for one in (first, second)}
        assert len(ports) == 2
        first.enter()
        second.enter()
        assert (first.get("/").status, second.get("/").status) == (200, 200)


@pytest.mark.parametrize(
    "target", ["/?" + "&".join(f"a{number}=1" for number in range(60)), "/principals?" + "a=1;" * 99 + "&" * 60]
)
def test_an_address_that_cannot_be_read(browser: Browser, target: str) -> None:
    """An address that is none, or has too many parameters, is a 400, and the connection does not just end."""
    assert browser.get(target).status == 400
