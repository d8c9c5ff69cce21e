"""What is refused before anything else is looked at."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from keybroker.console import guard

PORT = 4321
OWN = "127.0.0.1:4321"
SENT = {"host": OWN, "origin": f"http://{OWN}", "sec-fetch-site": "same-origin", "content-length": "2"}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4321",
        "localhost:4321",
        "127.0.0.1",
        "127.0.0.1:4322",
        "[::1]:4321",
        "0.0.0.0:4321",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/enter", "/static/console.css"])
def test_another_host_is_refused(host: str, path: str) -> None:
    """Only our own address is our host, whatever is asked for: a name that leads here is someone else's."""
    assert guard.refusal("GET", path, {"host": host}, PORT) == 421
    assert guard.refusal("POST", path, {**SENT, "host": host}, PORT) == 421
    assert guard.refusal("GET", path, {}, PORT) == 421


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "get"])
def test_other_methods_are_refused(method: str) -> None:
    """There is nothing to ask for beforehand, and nothing that another method does."""
    assert guard.refusal(method, "/", {"host": OWN}, PORT) == 405


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, None),
        ({"origin": None}, None),
        ({"sec-fetch-site": None}, None),
        ({"origin": None, "sec-fetch-site": None}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:4321"}, 403),
        ({"origin": "https://127.0.0.1:4321"}, 403),
        ({"origin": "http://127.0.0.1:4322"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, None),
        ({"content-length": None}, 411),
        ({"content-length": "-1"}, 411),
        ({"content-length": "1e3"}, 411),
        ({"transfer-encoding": "chunked"}, 411),
        ({"content-length": str(guard.BODY_LIMIT)}, None),
        ({"content-length": str(guard.BODY_LIMIT + 1)}, 413),
    ],
)
def test_a_change_of_another_site_is_refused(changed: Mapping[str, str | None], status: int | None) -> None:
    """A change comes from a page of ours, has a length, and is not too large."""
    headers = {name: value for name, value in {**SENT, **changed}.items() if value is not None}
    assert guard.refusal("POST", "/revoke", headers, PORT) == status


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("mode", "dest", "path", "status"),
    [
        ("navigate", "document", "/", None),
        ("navigate", "iframe", "/", 403),
        ("no-cors", "image", "/static/icon.svg", 403),
        ("no-cors", "script", "/", 403),
        ("cors", "empty", "/", 403),
        ("navigate", "document", "/enter", None),
    ],
)
def test_another_site_s_page_gets_nothing(site: str, mode: str, dest: str, path: str, status: int | None) -> None:
    """What another site's page asks for is refused; a link from there leads as far as a page without data."""
    headers = {"host": OWN, "sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert guard.refusal("GET", path, headers, PORT) == status
