from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from local.practice.federation.endpoint import Fault, Faults, RefusedError, TokenEndpoint, read_form, read_json, text
from tests.own_issuer import post_form, post_json, request
from tests.practice_server import serving


class Echo(TokenEndpoint):
    """Answers what it was sent."""

    def __init__(self) -> None:
        super().__init__(None)

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        del fault
        read = read_form if request.path == "/form" else read_json
        return web.json_response({"name": text(await read(request, 100), "name")})

    def denied(self, reason: str) -> web.Response:
        return web.json_response({"error": reason}, status=401)

    def refused(self, error: RefusedError) -> web.Response:
        return web.json_response({"error": error.reason}, status=error.status)


@contextmanager
def echoing(endpoint: Echo) -> Iterator[str]:
    app = web.Application()
    app.router.add_post("/{kind}", endpoint.handle)
    with serving(app) as url:
        yield url


def test_a_form_is_read_strictly() -> None:
    """A parameter that occurs twice, another media type, and what is too large or no UTF-8 are refused."""
    with echoing(Echo()) as url:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        assert post_form(f"{url}/form", {"name": "a b"}).body == {"name": "a b"}
        assert post_json(f"{url}/form", {"name": "a"}).body == {"error": "media_type"}
        assert request("POST", f"{url}/form", b"name=a&name=b", **kind).body == {"error": "malformed_body"}
        assert request("POST", f"{url}/form", b"name", **kind).body == {"error": "malformed_body"}
        assert post_form(f"{url}/form", {"name": "a" * 100}).status == 413
        assert post_form(f"{url}/form", {"name": ""}).body == {"error": "field_missing"}


def test_a_body_without_a_length_has_the_limit_too() -> None:
    """A body that comes in pieces is refused once it is too large."""
    with echoing(Echo()) as url:
        asked = urllib.request.Request(
            f"{url}/json",
            iter([b" " * 99, b"{}"]),
            {"Content-Type": "application/json", "Transfer-Encoding": "chunked"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=10)
        with refused.value as error:
            assert error.code == 413


def test_an_answer_can_come_late() -> None:
    with echoing(endpoint := Echo()) as url:
        endpoint.faults.coming = [Fault(delay=0.2)]
        start = time.monotonic()
        assert post_json(f"{url}/json", {"name": "a"}).status == 200
        assert time.monotonic() - start >= 0.2


def test_the_history_has_each_request() -> None:
    with echoing(endpoint := Echo()) as url:
        endpoint.faults.coming = [Fault(is_denied=True), Fault(status=500), Fault()]
        for _ in range(3):
            post_json(f"{url}/json", {"name": "a"})
        assert [(one.reason, one.status) for one in endpoint.history] == [("fault", 401), ("fault", 500), ("", 200)]


def test_faults_come_before_what_lasts() -> None:
    faults = Faults([Fault(status=1)], Fault(status=2))
    assert [faults.take().status for _ in range(3)] == [1, 2, 2]
