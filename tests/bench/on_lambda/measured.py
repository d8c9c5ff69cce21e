"""A handler with a clock around it, and what it asks of AWS. Runs beside the zip's content."""

import time
from collections.abc import Callable
from typing import Any

import jwt

import edge
from chalicelib.aws.edge_client import EdgeClient

REQUESTS: list[str] = []
_REAL = EdgeClient._packed


def _noted(self: EdgeClient, operation: Any, body: bytes) -> bytes:  # noqa: ANN401  a private type
    REQUESTS.append(operation.target.rpartition(".")[2])
    return _REAL(self, operation, body)


EdgeClient._packed = _noted  # type: ignore[method-assign]


def measured(handle: Callable[[Any, object], dict[str, Any]], event: dict[str, Any], context: object) -> dict[str, Any]:
    """Handle an event of CloudFront's, or decode a token and nothing more; return the CPU seconds it took."""
    if "decode" in event:
        return _decode(event["decode"], jwt.PyJWK(event["jwk"]))
    REQUESTS.clear()
    started = time.process_time()
    result = handle(event, context)
    took = time.process_time() - started
    return {"own": took, "requests": sorted(REQUESTS), "goes_on": "origin" in result}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Measure the edge's own handler."""
    return measured(edge.handler, event, context)


def _decode(token: str, key: jwt.PyJWK) -> dict[str, Any]:
    started = time.process_time()
    jwt.decode(token, key, algorithms=["ES256"], audience="openai", issuer="https://broker.example.com")
    return {"own": time.process_time() - started}
