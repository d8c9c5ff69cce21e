"""What calls verify, over Keybroker on this machine, and over servers that are not as they should be."""

from __future__ import annotations

import dataclasses
import http.server
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.verify import by_calls
from infra.verify.installed import FailedError, Installed, NotCheckedError
from tests.infra.preflight.answering import PROD, Answering
from tests.running import Running

REPOSITORY = "771234"
TAKING_A_TOKEN = (by_calls.a_token, by_calls.both_revoke, by_calls.call_is_admitted, by_calls.revocation_holds)


@pytest.fixture
def one(running: Running) -> Installed:
    """The installation on this machine, as its administrator; its tokens are the practice issuer's."""
    keys = Credentials(running.admin["access_key_id"], running.admin["secret_access_key"])

    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        request = AWSRequest(method, url, data=body or None, headers=dict(headers))
        SigV4Auth(keys, "execute-api", running.admin["region"]).add_auth(request)
        return dict(request.headers.items())

    urls = {"broker": running.broker, "admin": running.broker, "edge": running.edge}
    return Installed(PROD, Answering(), urls, "openai", lambda: running.token(REPOSITORY), sign)


@contextmanager
def answering(status: int, body: bytes = b"{}", **headers: str) -> Iterator[str]:
    """Yield the URL of a server that always answers the same."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815  as http.server has it

        def log_message(self, *_given: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def with_url(one: Installed, **urls: str) -> Installed:
    return dataclasses.replace(one, urls={**one.urls, **urls})


@pytest.mark.parametrize("check", [*TAKING_A_TOKEN, by_calls.error_is_not_cached, by_calls.anthropic_asks_at_the_edge])
def test_an_installation_that_works_passes(check: Callable[[Installed], None], one: Installed) -> None:
    check(one)


def in_force(running: Running) -> list[str]:
    """Return the program's own revocations that are in force."""
    found = running.administer("GET", "/admin/revocations?scope=token").json["items"]
    return [one["id"] for one in found if one["reason"] == by_calls.REASON and one["in_force"]]


def test_what_it_revoked_is_ended(one: Installed, running: Running) -> None:
    """No revocation of its own is left in force."""
    by_calls.both_revoke(one)
    by_calls.revocation_holds(one)
    assert in_force(running) == []


def test_a_revocation_that_does_not_hold_fails(one: Installed, running: Running) -> None:
    """An edge that admits a revoked token fails the row, and the revocation is ended all the same."""
    with answering(200) as edge, pytest.raises(FailedError, match="HTTP 200 after the revocation"):
        by_calls.revocation_holds(with_url(one, edge=edge))
    assert in_force(running) == []


def test_a_cached_error_fails(one: Installed) -> None:
    """An edge that answers a caller without a token with the last caller's error fails the row."""
    with answering(404) as edge, pytest.raises(FailedError, match="HTTP 404 without a token"):
        by_calls.error_is_not_cached(with_url(one, edge=edge))


def test_an_administrator_without_the_right_is_no_failure(one: Installed) -> None:
    with answering(403) as admin, pytest.raises(NotCheckedError, match="this identity may not revoke"):
        by_calls.both_revoke(with_url(one, admin=admin))


def test_a_refusing_edge_fails(one: Installed) -> None:
    """A token that the edge cannot judge is a failure, not a call that was refused."""
    body = b'{"error": {"message": "state unavailable (request r-1)"}, "request_id": "r-1"}'
    with answering(503, body) as edge, pytest.raises(FailedError, match="the edge refuses a token: HTTP 503"):
        by_calls.call_is_admitted(with_url(one, edge=edge))


@pytest.mark.slow
def test_gateway_refusals_need_a_request_id(one: Installed) -> None:
    with answering(403, b'{"request_id": "r-1"}') as door:
        by_calls.gateway_refusals(with_url(one, broker=door, admin=door))
    with answering(403, b'{"message": "Forbidden"}') as door, pytest.raises(FailedError, match="HTTP 403"):
        by_calls.gateway_refusals(with_url(one, broker=door, admin=door))


@pytest.mark.slow
def test_a_cached_refusal_fails(one: Installed) -> None:
    """Two refusals with one request id are one answer, given twice."""
    same = answering(401, request_id="r-1", x_cache="LambdaGeneratedResponse from cloudfront")
    with same as edge, pytest.raises(FailedError, match="the request ids are"):
        by_calls.every_call_runs_the_function(with_url(one, edge=edge))
    with answering(200) as edge, pytest.raises(FailedError, match=r"HTTP \[200, 200\]"):
        by_calls.every_call_runs_the_function(with_url(one, edge=edge))


def test_without_a_domain_tls_is_not_checked(one: Installed) -> None:
    with pytest.raises(NotCheckedError, match="no domain name"):
        by_calls.tls_is_new(one)
