"""Whom a request is from, behind proxies and without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request
from chalice.app import Chalice
from multidict import CIMultiDict

from local.simulator.api_gateway import make_gateway
from local.simulator.cloudfront import make_distribution
from local.simulator.sigv4 import InvalidSignatureError
from local.simulator.trusted_proxies import TrustedProxies

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
Headers = list[tuple[str, str]]


def seen(peer: str, *sent: str, proxies: TrustedProxies = PROXIES) -> str | None:
    """Return whom a request is from. sent: the values of X-Forwarded-For."""
    headers = CIMultiDict([("X-Forwarded-For", one) for one in sent])
    return proxies.seen(make_mocked_request("GET", "/", headers).clone(remote=peer)).remote


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.2.0.1"], "203.0.113.9"),
        (["203.0.113.9", "10.2.0.1"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["10.9.9.9, 10.2.0.1"], "10.9.9.9"),
        ([], "10.0.0.7"),
    ],
)
def test_a_trusted_proxy_says_who(sent: list[str], found: str) -> None:
    """The address is the last one that no trusted proxy has, or else the first of them."""
    assert seen("10.0.0.7", *sent) == found


def test_a_caller_cannot_name_its_own_address() -> None:
    """What stands left of the first stranger is the stranger's own text."""
    assert seen("10.0.0.7", "198.51.100.1, 203.0.113.9") == "203.0.113.9"
    assert seen("10.0.0.7", "198.51.100.1", "203.0.113.9, 10.2.0.1") == "203.0.113.9"


@pytest.mark.parametrize(
    ("hops", "sent", "found"),
    [
        (1, ["198.51.100.9, 10.7.7.7"], "10.7.7.7"),
        (1, ["198.51.100.9", "10.7.7.7"], "10.7.7.7"),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, [], "10.0.0.7"),
        (2, ["198.51.100.9, 10.7.7.7, 10.2.0.1"], "10.7.7.7"),
        (2, ["198.51.100.9, 203.0.113.9, 10.2.0.1"], "203.0.113.9"),
        (None, ["198.51.100.9, 10.7.7.7"], "198.51.100.9"),
    ],
)
def test_a_caller_beside_the_proxies_names_no_address(hops: int | None, sent: list[str], found: str) -> None:
    """A caller that has an address like the proxies' is whom they say, if it is known how many they are."""
    assert seen("10.0.0.7", *sent, proxies=TrustedProxies([ip_network("10.0.0.0/8")], hops)) == found


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::1", "", "11.0.0.7"])
def test_a_stranger_is_whom_its_connection_is_from(peer: str) -> None:
    """Of anybody but a trusted proxy, no header counts."""
    assert seen(peer, "10.1.1.1") == peer
    assert seen("10.0.0.7", "203.0.113.9", proxies=TrustedProxies()) == "10.0.0.7"


@pytest.mark.parametrize("faulty", ["unknown", "", "203.0.113.9:x", "203.0.113", "_hidden", "203.0.113.9 10.0.0.1"])
def test_what_is_no_address_is_the_proxys(faulty: str) -> None:
    """A proxy that says nothing of use is itself whom the request is from."""
    assert seen("10.0.0.7", f"198.51.100.1, {faulty}") == "10.0.0.7"


@pytest.mark.parametrize("proxies", [PROXIES, TrustedProxies()])
def test_an_address_has_one_form(proxies: TrustedProxies) -> None:
    """A caller by IPv4 at a door for both is the same caller."""
    assert seen("::ffff:203.0.113.9", proxies=proxies) == "203.0.113.9"
    assert seen("::ffff:10.0.0.7", "::ffff:203.0.113.9", proxies=PROXIES) == "203.0.113.9"


@pytest.mark.parametrize(
    ("headers", "host", "plain"),
    [
        ([("X-Forwarded-Host", "broker.example.com"), ("X-Forwarded-Proto", "https")], "broker.example.com", False),
        ([("X-Forwarded-Proto", "http")], None, True),
        ([("X-Forwarded-Proto", "https, http")], None, True),
        ([("X-Forwarded-Proto", "wss")], None, False),
        ([("X-Forwarded-Proto", "ws")], None, True),
        ([("X-Forwarded-Host", "a"), ("X-Forwarded-Host", "b")], None, False),
    ],
)
def test_host_and_scheme(headers: Headers, host: str | None, plain: bool) -> None:  # noqa: FBT001  a row of the table
    """A trusted proxy says which host was asked, if it is one, and whether there was TLS; others do not."""
    request = make_mocked_request("GET", "/", CIMultiDict(headers))
    assert (
        PROXIES.host(request.clone(remote="10.0.0.7")),
        PROXIES.says_plain_http(request.clone(remote="10.0.0.7")),
    ) == (
        host,
        plain,
    )
    stranger = request.clone(remote="203.0.113.9", scheme="https")
    assert (PROXIES.host(stranger), PROXIES.says_plain_http(stranger)) == (None, False)


@pytest.mark.parametrize(
    ("peer", "scheme", "plain"),
    [
        ("203.0.113.9", "http", True),
        ("::ffff:203.0.113.9", "http", True),
        ("203.0.113.9", "https", False),
        ("127.0.0.1", "http", False),
        ("::1", "http", False),
        ("::ffff:127.0.0.1", "http", False),
        ("10.0.0.7", "http", False),
        ("", "http", False),
    ],
)
def test_plain_http_past_the_proxies_is_refused(peer: str, scheme: str, plain: bool) -> None:  # noqa: FBT001  a row of the table
    """Who comes past the proxies over a network has to bring TLS, whatever it says; this machine's own programs need none."""
    for proto in ("https", "http") if peer != "10.0.0.7" else ("https",):
        request = make_mocked_request("GET", "/", CIMultiDict({"X-Forwarded-Proto": proto}))
        assert PROXIES.says_plain_http(request.clone(remote=peer, scheme=scheme)) is plain
        assert TrustedProxies().says_plain_http(request.clone(remote=peer, scheme=scheme)) is False


HERE = TrustedProxies([ip_network("127.0.0.1")])


def edge(proxies: TrustedProxies) -> web.Server:
    """An edge whose function answers the address that it was told."""

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        address = event["Records"][0]["cf"]["request"]["clientIp"]
        return {"status": "200", "statusDescription": "OK", "body": address}

    return make_distribution(handler, proxies=proxies)


def broker(proxies: TrustedProxies) -> web.Server:
    """A broker that answers the address that it was told."""

    def app() -> Chalice:
        made = Chalice(app_name="broker", configure_logs=False)

        @made.route("/")
        def index() -> str:
            assert made.current_request is not None
            return str(made.current_request.context["identity"]["sourceIp"])

        return made

    def nobody(*_: object) -> Any:  # noqa: ANN401  it returns nothing
        raise InvalidSignatureError

    return make_gateway(app, None, nobody, proxies=proxies)


def asked(door: Callable[[TrustedProxies], web.Server], proxies: TrustedProxies, **headers: str) -> tuple[int, str]:
    """Ask a door once, from 127.0.0.1; return the status, and the body or the error's code."""

    async def run() -> tuple[int, str]:
        server = door(proxies)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            async with ClientSession() as client, client.get(url, headers=named) as answer:
                text = await answer.text()
        finally:
            await runner.cleanup()
            if close := getattr(server, "close", None):
                await close()
        if answer.status == 200:
            return 200, text
        error = json.loads(text)["error"]
        return answer.status, error if isinstance(error, str) else error["code"]

    return asyncio.run(run())


@pytest.mark.parametrize("door", [edge, broker])
def test_both_doors_believe_their_proxies_alone(door: Callable[[TrustedProxies], web.Server]) -> None:
    """Who is behind a trusted proxy is seen by function and app; without one, nobody is but the connection's peer."""
    assert asked(door, HERE, X_Forwarded_For="203.0.113.9") == (200, "203.0.113.9")
    assert asked(door, PROXIES, X_Forwarded_For="203.0.113.9") == (200, "127.0.0.1")
    assert asked(door, TrustedProxies(), X_Forwarded_For="203.0.113.9") == (200, "127.0.0.1")


@pytest.mark.parametrize(("door", "code"), [(edge, "https_required"), (broker, "access_denied")])
def test_plain_http_at_a_proxy_is_refused(
    door: Callable[[TrustedProxies], web.Server], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a proxy took without TLS is refused by both doors; a stranger's word for it counts for nothing."""
    caplog.set_level("INFO")
    assert asked(door, HERE, X_Forwarded_Proto="http") == (403, code)
    assert door is broker or '"reason": "plain_http", "status": 403' in caplog.text
    assert asked(door, HERE, X_Forwarded_Proto="https")[0] == 200
    assert asked(door, PROXIES, X_Forwarded_Proto="http")[0] == 200
