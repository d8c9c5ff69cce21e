"""What every door does with a request, seen where no event is."""

from __future__ import annotations

from chalicelib.edge.door import OnItsWay, Origin, Request
from chalicelib.edge.headers import Headers


def test_a_request_is_not_printed() -> None:
    """Neither a token nor a key is in a repr of what comes in or goes on."""
    headers = Headers(("authorization",), ("Authorization",), ("Bearer a-secret",))
    asked = Request("POST", "/openai/a-secret", "key=a-secret", headers, "203.0.113.1")
    origin = Origin("api.openai.com", "https", "api.openai.com", 443)
    sent = OnItsWay(origin, "/a-secret", "key=a-secret", headers)
    assert "a-secret" not in f"{asked} {asked!r} {sent} {sent!r} {[asked, sent]}"
    assert (repr(asked), repr(sent)) == ("Request(method='POST')", "OnItsWay(origin='api.openai.com')")
