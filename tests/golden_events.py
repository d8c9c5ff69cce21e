"""Events from CloudFront's documentation, and what CloudFront would do with a function's result for one."""

import json
from pathlib import Path
from typing import Any

from local.simulator.function_result import GeneratedResponse, OriginRequest, parse_result, protected_headers
from local.simulator.origin_request_event import Event

EVENTS = Path(__file__).resolve().parent / "events"
DOCUMENTED = ("documented", "documented_with_body")
NO_TOKEN = "made-up"


def golden(name: str, token: str = NO_TOKEN) -> Event:
    """An event as CloudFront's documentation shows it, with a token in it."""
    event: Event = json.loads((EVENTS / f"{name}.json").read_text().replace("TOKEN", token))
    return event


def asked(event: Event) -> dict[str, Any]:
    request: dict[str, Any] = event["Records"][0]["cf"]["request"]
    return request


def kept(event: Event, result: object) -> OriginRequest | GeneratedResponse:
    """What CloudFront would do about the result for an event; raises MalformedResultError."""
    request = asked(event)
    return parse_result(result, request["method"], protected_headers(request["headers"]))
