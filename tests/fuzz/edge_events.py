"""Origin-request events: such as CloudFront sends, with whatever callers can put into them, and such as nobody sends."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from local.simulator.origin_request_event import METHODS, Event
from tests.fuzz.json_values import VALUES, changed

DISTRIBUTIONS_OWN = "of-the-distribution-alone"
"""The value of a custom header of the distribution's default origin."""
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_IN_URI, _IN_QUERY = (_VISIBLE.translate({ord(one): None for one in without}) for without in ("#?", "#"))
_CALLS = [f"POST /openai/v1/{name}" for name in ("chat/completions", "files", "batches")]
_CALLS += [
    "GET /openai/v1/models",
    "GET /openai/models/gpt-5",
    "POST /anthropic/v1/messages",
    "POST /anthropic/messages",
]
_CALLS += ["POST /generic/anything/at/all"]
_CALLS += ["PUT /generic/anything/at/all", "GET /generic/anything/at/all", "GET /anthropic/v1/models"]
_PATHS = """/openai/v1/chat/completions /openai/v1/models /openai/v1/models/gpt-5-mini /openai/chat/completions /openai
/anthropic/v1/messages /anthropic/messages /generic/anything/at/all /openai/v1/organization/admin_api_keys / /nothing/v1
/.well-known/oauth-protected-resource /anthropic/v1/oauth/token /openai/v1/files /openai/v1/batches""".split()  # noqa: SIM905
_PIECES = """.. . // / ; : @ * % %00 %2e%2e %2F %5c %3A %c0%af %C3%A9 %EF%BC%8E %20 \\ ~ + ! ' v1 openai anthropic
%F0%9F%98%80 %e2%80%ae key= api_key= token= &""".split()  # noqa: SIM905
_NAMES = """Accept accept-encoding Anthropic-Beta anthropic-version Content-Type Content-Encoding Cookie If-None-Match
Idempotency-Key OpenAI-Organization Origin Range User-Agent X-Request-Id X-Forwarded-Host Forwarded True-Client-IP
X-HTTP-Method-Override CloudFront-Viewer-Address X-Amzn-Trace-Id X-Cache X-Accel-Redirect CDN-Loop X-Original-URL""".split()  # noqa: SIM905
OWN_HEADER = "x-vendor-key"
"""The header of the generic provider's key."""
_FOLDING = [
    OWN_HEADER,
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "x-http-method-override",
    "x-http-method",
]
_FOLDING += ["x-method-override", "x-forwarded-host", "x-real-ip", "proxy", "content-length", "transfer-encoding"]
_TOKEN_NAMES = ["Authorization", "X-Api-Key", "x-goog-api-key", "Api-Key"]
_VALUES = [
    "",
    " ",
    "bytes",
    "GET",
    "DELETE",
    "oauth-2025-04-20",
    "a,oauth-2025-04-20",
    "application/json",
    "gzip",
    "*/*",
]
_VALUES += ["multipart/form-data; boundary=x", "close, x-api-key", "127.0.0.1", "api.evil.example", "caf\xe9"]
_CALL = b'{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}], "stream": true}'
_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
_PART = b"--x\r\nContent-Disposition: form-data; %s\r\n\r\nDELETE\r\n--x--\r\n"
_OVERRIDES = [
    *((_FORM, pairs) for pairs in (b"_method=DELETE", b"a=1&%5Fm%65thod=PUT", b"a;_METHOD=PATCH", b"_method[]=DELETE")),
    *(
        (kind, b'{"a": 1, "_method": "DELETE"}')
        for kind in ("application/json", "application/vnd.api+json; charset=utf-8")
    ),
    ("application/json", b'{"\\u005fmethod": "DELETE"}'),
    *((_MULTIPART, _PART % field) for field in (b'name="_method"', b"name=_method", b'filename="a"; name="_METHOD"')),
    *((kind, b"method=card&q=_method") for kind in (_FORM, "text/plain")),
]
"""Bodies that ask for another method, and two that do not, with their type."""
_ADDRESSES = ["203.0.113.1", "2001:db8::1", "::ffff:10.0.0.1", "fe80::1%eth0", "unknown"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is tried as a token. good: by the key it is for; others: expired, made up, none."""

    good: Mapping[str, str]
    others: Sequence[str]

    @property
    def all(self) -> list[str]:
        """All of them."""
        return [*self.good.values(), *self.others]


@st.composite
def plausible(draw: st.DrawFn, tokens: Tokens) -> Event:
    """Events that a caller can bring about at CloudFront: a call that is admitted, with none, some or much of it changed."""
    method, uri = draw(st.sampled_from(_CALLS)).split(" ")
    usual = ("Authorization", f"Bearer {tokens.good[uri.split('/')[1]]}")
    changes = draw(st.sets(st.sampled_from(["method", "uri", "query", "token", "headers", "body"]), max_size=3))
    return _event(
        method=draw(st.sampled_from(sorted(METHODS))) if "method" in changes else method,
        uri=draw(_patched([uri, *_PATHS], _IN_URI)) if "uri" in changes else uri,
        query=draw(_patched(["", "limit=2", f"key={usual[1][7:]}"], _IN_QUERY, start="")) if "query" in changes else "",
        headers=[
            draw(_token_headers(tokens)) if "token" in changes else usual,
            ("Content-Type", "application/json"),
            *(draw(st.lists(_headers(tokens), max_size=4)) if "headers" in changes else ()),
        ],
        body=draw(
            st.none() | st.builds(_body, _bodies(), st.booleans()) if "body" in changes else st.just(_body(_CALL))
        ),
        client_ip=draw(st.sampled_from(_ADDRESSES)),
        request_id=draw(st.sampled_from(["r-1"]) | st.text(_VISIBLE, min_size=1, max_size=60)),
    )


@st.composite
def respelled(draw: st.DrawFn, tokens: Tokens) -> Event:
    """Calls that are admitted but for headers that matter, in spellings that some server takes for theirs."""
    method, uri = draw(st.sampled_from(_CALLS)).split(" ")
    token = tokens.good[uri.split("/")[1]]
    names = draw(st.lists(_respelled().filter(_is_shown), min_size=1, max_size=8))
    values = st.sampled_from([token, token, f"Bearer {token}", method, "DELETE", "chunked", "3", ""])
    content_type, content = draw(st.sampled_from([("application/json", _CALL)] * len(_OVERRIDES) + _OVERRIDES))
    return _event(
        method=method,
        uri=uri,
        query="",
        headers=[("Authorization", f"Bearer {token}"), ("Content-Type", content_type)]
        + [(name, draw(values)) for name in names],
        body=_body(content),
        client_ip=_ADDRESSES[0],
        request_id="r-1",
    )


def broken(tokens: Tokens) -> st.SearchStrategy[Event]:
    """Events whose request has members that CloudFront never sends, or lacks some that it always sends."""
    requests = plausible(tokens).map(lambda event: event["Records"][0]["cf"]["request"])
    return st.builds(
        lambda request: {"Records": [{"cf": {"config": {"requestId": "r-1"}, "request": request}}]}, changed(requests)
    )


@st.composite
def _patched(draw: st.DrawFn, known: Sequence[str], alphabet: str, start: str = "/") -> str:
    """Some known text with pieces put in or left out, or any text."""
    if draw(st.integers(0, 5)) == 0:
        return start + draw(st.text(alphabet, max_size=40))
    found = draw(st.sampled_from(known))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(len(start), max(len(found), len(start))))
        kept = place + draw(st.sampled_from([0, 0, 1, 3]))
        found = found[:place] + draw(st.sampled_from(_PIECES) | st.text(alphabet, max_size=4)) + found[kept:]
    return "".join(one for one in found if one in alphabet)


def _brought(tokens: Tokens) -> st.SearchStrategy[str]:
    token = st.sampled_from(tokens.all) | st.sampled_from(tokens.all).flatmap(_nearly)
    forms = st.sampled_from(["{}", "Bearer {}", "bearer {}", "Token {}", " {} ", "Basic {}", "{},{}", "Bearer {} {}"])
    return st.builds(lambda form, one: form.format(one, one), forms, token)


def _token_headers(tokens: Tokens) -> st.SearchStrategy[tuple[str, str]]:
    return st.tuples(st.sampled_from(_TOKEN_NAMES), _brought(tokens))


@st.composite
def _respelled(draw: st.DrawFn) -> str:
    """A header's name that some server takes for one that matters."""
    name = "".join(draw(st.sampled_from("--__.~")) if one == "-" else one for one in draw(st.sampled_from(_FOLDING)))
    return draw(st.sampled_from([str.lower, str.upper, str.title]))(name)


def _headers(tokens: Tokens) -> st.SearchStrategy[tuple[str, str]]:
    text = st.sampled_from(_VALUES) | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12)
    names = (
        st.sampled_from(_NAMES)
        | _respelled().filter(_is_shown)
        | st.from_regex(r"\A[a-z][a-z0-9_-]{0,12}\Z").filter(_is_shown)
    )
    return st.tuples(names, text | _brought(tokens)) | _token_headers(tokens)


def _is_shown(name: str) -> bool:
    name = name.lower()
    hidden = {"connection", "content-length", "host", "expect", "keep-alive", "te", "trailer", "transfer-encoding"}
    hidden |= {"upgrade", "via", "x-real-ip"}
    return name not in hidden and not name.startswith(("proxy-", "x-amz-cf-", "x-edge-", "x-forwarded-"))


@st.composite
def _nearly(draw: st.DrawFn, token: str) -> str:
    """A token with one character changed, or cut."""
    place = draw(st.integers(0, max(len(token) - 1, 0)))
    return token[:place] + draw(st.sampled_from(["", ".", "A", "=", " ", "é"])) + token[place + 1 :]


def _bodies() -> st.SearchStrategy[bytes]:
    call = json.loads(_CALL)
    valid = st.just(call) | st.builds(lambda model: {**call, "model": model}, VALUES) | changed(st.just(call))
    as_json = valid.map(lambda value: json.dumps(value).encode())
    twice = as_json.map(lambda text: text[:-1] + b', "model": "gpt-5"}')
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-5-mini\r\n--x--\r\n'
    return as_json | twice | st.binary(max_size=40) | st.just(form)


def _body(content: bytes, is_cut: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002  drawn by position
    data = base64.b64encode(content).decode()
    return {"action": "read-only", "data": data, "encoding": "base64", "inputTruncated": is_cut}


def _event(  # noqa: PLR0917  as the event has them
    method: str,
    uri: str,
    query: str,
    headers: list[tuple[str, str]],
    body: dict[str, Any] | None,
    client_ip: str,
    request_id: str,
) -> Event:
    grouped: dict[str, list[dict[str, str]]] = {}
    for name, value in [*headers, ("Via", "2.0 d1.cloudfront.net (CloudFront)"), ("Host", "origin.invalid")]:
        grouped.setdefault(name.lower(), []).append({"key": name, "value": value})
    custom = {
        "customHeaders": {"x-origin-secret": [{"key": "X-Origin-Secret", "value": DISTRIBUTIONS_OWN}]},
        "domainName": "origin.invalid",
        "keepaliveTimeout": 5,
        "path": "",
        "port": 443,
        "protocol": "https",
        "readTimeout": 120,
        "sslProtocols": ["TLSv1.2"],
    }
    request = {
        "clientIp": client_ip,
        "headers": grouped,
        "method": method,
        "querystring": query,
        "uri": uri,
        "origin": {"custom": custom},
    }
    config = {
        "distributionDomainName": "d1.cloudfront.net",
        "distributionId": "E1",
        "eventType": "origin-request",
        "requestId": request_id,
    }
    return {"Records": [{"cf": {"config": config, "request": request if body is None else {**request, "body": body}}}]}
