"""The two ways to the edge function: by Lambda@Edge's events and without any, over the same rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edge
from chalicelib.edge.door import EdgeDoor, Request
from chalicelib.edge.headers import Headers
from local.simulator import edge_function
from local.simulator.edge_function import Decide
from local.simulator.function_result import GeneratedResponse, MalformedResultError, OriginRequest
from local.simulator.include_body import included_body
from local.simulator.origin_request_event import METHODS
from tests.edge_function import provide
from tests.parts import Parts, parts_in

TIMEOUT = 120


class Doors(NamedTuple):
    """Both ways over the same state, and the lines that each has logged."""

    direct: Decide
    by_events: Decide
    logs: tuple[list[str], list[str]]
    token: str
    parts: Parts


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with parts_in(tmp_path_factory.mktemp("both")) as parts:
        yield doors_of(parts, provide(parts, "openai", "POST:/v1/chat/completions", "GET:/v1/**", "DELETE:/v1/files/*"))


def doors_of(parts: Parts, token: str) -> Doors:
    logs: tuple[list[str], list[str]] = ([], [])
    direct = EdgeDoor(lambda: parts.edge_ports(logs[0]), logs[0].append)
    handler = edge.make_handler(lambda: parts.edge_ports(logs[1]), logs[1].append)
    return Doors(edge_function.of(direct, TIMEOUT), edge_function.of(handler, TIMEOUT), logs, token, parts)


def outcome(decide: Decide, request: Request) -> OriginRequest | GeneratedResponse | str:
    """Return what one door makes of a request."""
    try:
        return decide(request, "request-1")
    except MalformedResultError:
        return "502"


def both(doors: Doors, request: Request) -> OriginRequest | GeneratedResponse | str:
    """Return what both doors make of a request, which has to be the same."""
    direct, by_events = outcome(doors.direct, request), outcome(doors.by_events, request)
    assert direct == by_events
    assert doors.logs[0] == doors.logs[1]
    return direct


def asked(
    *headers: tuple[str, str],
    method: str = "POST",
    target: str = "/openai/v1/chat/completions",
    body: bytes | None = None,
) -> Request:
    """Return a request, as a server makes it: the headers of one name together, and its own last."""
    own = [("Via", "1.1 local"), ("X-Forwarded-For", "203.0.113.1"), ("Host", "origin.invalid")]
    ordered = sorted(headers, key=lambda one: [name.lower() for name, _ in headers].index(one[0].lower()))
    sent, values = zip(*ordered, *own, strict=True)
    found = Headers(tuple(map(str.lower, sent)), sent, values)
    path, _, query = target.partition("?")
    shown: Any = {} if body is None else {"buffered": bytearray(body)}
    return Request(method, path, query, found, "203.0.113.1", included_body(Shown(shown), found))  # type: ignore[arg-type]


class Shown(dict[str, Any]):
    """What is read of a server's request for its body."""

    def __contains__(self, _key: object) -> bool:
        return bool(self.keys())

    def __getitem__(self, _key: Any) -> Any:  # noqa: ANN401  as dict has it
        return next(iter(self.values()))


_GOOD = ["/openai/v1/chat/completions", "/openai/v1/models", "/openai/v1/models?a=1&b=%20"]
_TARGETS = """/openai/v1/chat/completions /openai/v1/models /openai/models /openai/v1/files/file-1 /openai/v1/files%2F1
/openai/v1/organization/users /openai /nothing/v1 /openai/v1/../v1 /openai/v1/{token} /openai/v1/models?key={token}
/openai/v1/models?a=1&key=x /openai/v1/models?_method=DELETE /.well-known/oauth-protected-resource /.well-known/x
/openai/v1/models?a={token}""".split()  # noqa: SIM905  a list of words
_FINE = """Accept accept Content-Type Cookie x_api_version Anthropic-Beta User-Agent X-Forwarded-Host X-Cache X-Stainless-Lang
If-None-Match x-hop Transfer_Encoding host2""".split()  # noqa: SIM905  a list of words
_NAMES = ["X-Api-Key", "x_api_key", "X-HTTP-Method-Override", "Sec-WebSocket-Key", "Connection", "x-hop", "x hop"]
_VALUES = ["", "a/b", "application/json", "gzip", "oauth-2025-04-20,b", "oauth-2025-04-20", "x {token}", "ä", "a\tb"]
_ODD = ["DELETE", "POST", "keep-alive, x-hop", "{token}", "a\x01b", "k" * 9_000]
_HEADERS = st.lists(st.tuples(st.sampled_from(_FINE * 3 + _NAMES), st.sampled_from(_VALUES * 4 + _ODD)), max_size=6)
_TOKENS = st.sampled_from(
    [("Authorization", "Bearer {token}")] * 12
    + [("x-api-key", "{token}"), ("Authorization", "Bearer a.b.c"), ("x", "")]
)
_BODIES = st.sampled_from([None, b"", b"{}", b"_method=DELETE", json.dumps({"model": "gpt-5"}).encode()])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([*sorted(METHODS), "WEBSOCKET", *["POST", "GET"] * 12]),
    st.sampled_from(_GOOD * 12 + _TARGETS),
    _TOKENS,
    _HEADERS,
    _BODIES,
)
def test_both_ways_decide_and_send_the_same(  # noqa: PLR0917  what a request has
    doors: Doors, method: str, target: str, token: tuple[str, str], headers: list[tuple[str, str]], body: bytes | None
) -> None:
    """What goes on is the same to the order of its headers, and what is refused byte for byte."""
    sent = [(name, value.replace("{token}", doors.token)) for name, value in (token, *headers)]
    names = [name.lower() for name, _ in sent]
    # CloudFront lets a function remove all values of this header or none, where ours removes the one with a token.
    if names.count("x-cache") > 1:
        sent = [one for one in sent if one[0] != "X-Cache"]
    both(doors, asked(*sent, method=method, target=target.replace("{token}", doors.token), body=body))


def test_a_call_goes_on_without_an_event(doors: Doors) -> None:
    """The direct way sends the caller's headers in order, and the key's last."""
    request = asked(("Accept", "a/b"), ("Authorization", f"Bearer {doors.token}"), ("accept", "c"), body=b"{}")
    found = both(doors, request)
    assert isinstance(found, OriginRequest)
    assert found.headers == [
        *(("Accept", "a/b"), ("accept", "c"), ("Via", "1.1 local"), ("Host", "api.openai.com")),
        ("authorization", "Bearer key-of-openai"),
    ]
    assert (found.address, found.target, found.read_timeout) == (
        "https://api.openai.com:443",
        "/v1/chat/completions",
        120,
    )


@pytest.mark.parametrize("header", ["x-amzn-auth", "connection", "x-edge-key", "x-cache"])
def test_both_doors_refuse_a_key_in_a_disallowed_header(tmp_path: Path, header: str) -> None:
    """A key whose header no function may set goes nowhere."""
    with parts_in(tmp_path) as parts:
        token = provide(parts, "openai", "GET:/v1/models")
        parts.set_key("openai", "the-key", header=header)
        found = both(
            doors_of(parts, token),
            asked(("Authorization", f"Bearer {token}"), method="GET", target="/openai/v1/models"),
        )
        assert found == "502"


def test_both_doors_refuse_an_address_as_an_origin(tmp_path: Path) -> None:
    """A key whose origin is an IP address goes nowhere."""
    with parts_in(tmp_path) as parts:
        token = provide(parts, "openai", "GET:/v1/models")
        parts.set_key("openai", "the-key", origin="https://127.0.0.1:8443")
        found = both(
            doors_of(parts, token),
            asked(("Authorization", f"Bearer {token}"), method="GET", target="/openai/v1/models"),
        )
        assert found == "502"
