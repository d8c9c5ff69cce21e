"""Door: CloudFront's origin-request. A call with a token comes in, the call with the key goes on to the provider."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from chalicelib import admission, call_path, config, edge_refusal, providers
from chalicelib.admission import Admitted, Call
from chalicelib.errors import Refusal

Headers = dict[str, list[dict[str, str]]]
"""CloudFront's form: lower-case name -> every value, each with the name as it was sent."""

_OAUTH_FLAG = "oauth-2025-04-20"
"""Anthropic's SDK sets it beside an exchanged token; with a real key it does not belong there."""
_SPOOFABLE = ("forwarded", "x-real-ip", "true-client-ip", "proxy-authorization", "proxy-connection")
_SPOOFABLE_PREFIXES = ("x-forwarded-", "cloudfront-", "x-amzn-")


@dataclass(frozen=True, slots=True)
class Ports:
    """What the handler needs. clock: epoch seconds. log: takes one line per refusal."""

    edge: admission.Edge
    clock: Callable[[], int] = lambda: int(time.time())
    log: Callable[[str], None] = print


def make_handler(ports: Callable[[], Ports]) -> Callable[[Mapping[str, Any], object], dict[str, Any]]:
    """Wire the handler. ports: called at the first event."""
    made: list[Ports] = []

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        """Return the request to send on, or the answer that refuses it."""
        cloudfront = event["Records"][0]["cf"]
        request_id = str(cloudfront["config"]["requestId"])
        try:
            if not made:
                made.append(ports())
            return _handle(cloudfront["request"], made[0])
        except Refusal as refusal:
            return _refuse(refusal, request_id, made)
        except Exception as fault:  # noqa: BLE001  the last line of defence; the fault's text may hold a token or a key
            kind = f"fault_{type(fault).__name__}"
            return _refuse(Refusal(kind, "server_error", 500, "something went wrong on our side"), request_id, made)

    return handle


def _handle(request: dict[str, Any], ports: Ports) -> dict[str, Any]:
    key, path = call_path.split(request["uri"])
    token = _take_token(request["headers"])
    # SECURITY: the address is CloudFront's own finding, no header's (test_edge.py).
    call = Call(token, key, request["method"], path, request["clientIp"])
    admitted = admission.admit(call, ports.edge, ports.clock())
    return _send_on(request, path, admitted)


def _take_token(headers: Headers) -> str:
    """Return the token, from wherever SDKs put their key. Two different ones are refused; none is ""."""
    found = set()
    for name in providers.TOKEN_HEADERS:
        for header in headers.get(name, ()):
            scheme, _, rest = header["value"].strip().partition(" ")
            bearer = name == "authorization" and scheme.lower() == "bearer"
            found.add(rest.strip() if bearer else header["value"].strip())
    found.discard("")
    if len(found) > 1:
        raise Refusal("two_tokens", "invalid_request", 400, "two different tokens were sent; send one")
    return found.pop() if found else ""


def _send_on(request: dict[str, Any], path: str, admitted: Admitted) -> dict[str, Any]:
    # SECURITY: where the call goes is the key's own, never the request's; what could carry the token or spoof an
    # address is taken off before the key is put on (test_edge.py).
    origin = urlsplit(admitted.key.origin)
    headers: Headers = {
        name: values
        for name, values in request["headers"].items()
        if name not in providers.TOKEN_HEADERS and name not in _SPOOFABLE and not name.startswith(_SPOOFABLE_PREFIXES)
    }
    _drop_oauth_flag(headers)
    headers["host"] = [{"key": "Host", "value": origin.netloc}]
    headers[admitted.key.header] = [{"key": admitted.key.header, "value": admitted.key.reveal()}]
    custom: dict[str, Any] = {
        "customHeaders": {},
        "domainName": origin.hostname,
        "keepaliveTimeout": 5,
        "path": "",
        "port": origin.port or (443 if origin.scheme == "https" else 80),
        "protocol": origin.scheme,
        "readTimeout": 120,
        "sslProtocols": ["TLSv1.2"],
    }
    return {**request, "uri": path, "headers": headers, "origin": {"custom": custom}}


def _drop_oauth_flag(headers: Headers) -> None:
    """Take one flag off `anthropic-beta` and leave everything else of it as it was sent."""
    kept = []
    for header in headers.get("anthropic-beta", ()):
        flags = header["value"].split(",")
        left = [flag for flag in flags if flag.strip() != _OAUTH_FLAG]
        if len(left) == len(flags):
            kept.append(header)
        elif any(flag.strip() for flag in left):
            kept.append({**header, "value": ",".join(left).strip()})
    if kept:
        headers["anthropic-beta"] = kept
    else:
        headers.pop("anthropic-beta", None)


def _refuse(refusal: Refusal, request_id: str, made: Sequence[Ports]) -> dict[str, Any]:
    # SECURITY: fixed words, and who and what was refused once that is verified; nothing else of the call (test_canary.py).
    line = {"door": "edge", "reason": refusal.reason, "status": refusal.status, "request_id": request_id}
    (made[0].log if made else print)(json.dumps({**line, **refusal.about}))
    return {
        "status": str(refusal.status),
        "headers": {
            name: [{"key": name, "value": value}] for name, value in edge_refusal.headers(refusal, request_id).items()
        },
        "body": edge_refusal.body(refusal, request_id),
        "bodyEncoding": "text",
    }


handler = make_handler(config.edge_ports_on_aws)
"""What Lambda@Edge runs. Its ports are made at the first event."""
