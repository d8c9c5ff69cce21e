"""The edge's own handler, with a clock around it and around every call of botocore. Runs beside the zip's content."""

import time
from typing import Any

import jwt
from botocore.client import BaseClient

import edge

_CALLS: list[tuple[str, float]] = []
_REAL = BaseClient._make_api_call  # type: ignore[attr-defined]


def _clocked(self: object, operation: str, parameters: object) -> object:
    started = time.thread_time()
    try:
        return _REAL(self, operation, parameters)
    finally:
        _CALLS.append((operation, time.thread_time() - started))


BaseClient._make_api_call = _clocked  # type: ignore[attr-defined]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Handle an event of CloudFront's, or decode a token and nothing more; return the CPU seconds it took."""
    if "decode" in event:
        return _decode(event["decode"], jwt.PyJWK(event["jwk"]))
    _CALLS.clear()
    started = time.process_time()
    result = edge.handler(event, context)
    took = time.process_time() - started
    botocore = sum(seconds for _, seconds in _CALLS)
    requests = sorted(operation for operation, _ in _CALLS)
    return {"own": took - botocore, "botocore": botocore, "requests": requests, "goes_on": "origin" in result}


def _decode(token: str, key: jwt.PyJWK) -> dict[str, Any]:
    started = time.process_time()
    jwt.decode(token, key, algorithms=["ES256"], audience="openai", issuer="https://broker.example.com")
    return {"own": time.process_time() - started}
