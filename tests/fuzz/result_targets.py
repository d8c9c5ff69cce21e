"""What functions return, as CloudFront is played here: acted on, or refused in one way."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlsplit

from hypothesis import strategies as st

from local.simulator.function_result import GeneratedResponse, MalformedResultError, parse_result, protected_headers
from tests.fuzz.json_values import VALUES, changed
from tests.fuzz.target import Target
from tests.golden_events import asked, golden

_EVENT = golden("documented_with_body")
_ANSWER = {
    "status": "403",
    "statusDescription": "Forbidden",
    "headers": {"content-type": [{"key": "Content-Type", "value": "application/json"}]},
    "body": "{}",
    "bodyEncoding": "text",
}


def targets() -> list[Target]:
    """Return what is fuzzed here."""
    known: st.SearchStrategy[Any] = st.sampled_from([asked(_EVENT), _ANSWER])
    return [Target("result", changed(known) | known | VALUES, check)]


def check(result: Any) -> None:  # noqa: ANN401  anything
    """A result is refused as MalformedResultError, or what is acted on can be written: one line for each header."""
    request = asked(_EVENT)
    with contextlib.suppress(MalformedResultError):
        order = parse_result(result, request["method"], protected_headers(request["headers"]))
        written = "\n".join(f"{name}: {value}" for name, value in order.headers).encode()
        assert len(written.split(b"\n")) == max(len(order.headers), 1)
        if isinstance(order, GeneratedResponse):
            assert 200 <= order.status <= 599
            return
        sent = {name.lower(): value for name, value in order.headers}
        assert sent["host"].partition(":")[0].lower() == urlsplit(order.address).hostname
        assert {"content-length", "via"} <= sent.keys()
        assert order.target.startswith(("/", result["origin"]["custom"]["path"]))
