"""The refusals of the broker's doors that belong to no one capability."""

from __future__ import annotations

from chalicelib.errors import Refusal


class Unsupported(Refusal, reason="unsupported", error="invalid_request", status=(405, 415, 500)):
    """The framework does not take the request's method (405) or Content-Type (415), or failed itself (500)."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text, status=status)


class QueryMalformed(
    Refusal,
    reason="query_malformed",
    error="invalid_request",
    status=400,
    text="send exactly one parameter: ?issuer=<the issuer's URL>",
):
    """The query of GET /audience is not one issuer. Send `?issuer=` with its URL, and nothing else."""


class QueryNotTaken(
    Refusal,
    reason="query_not_taken",
    error="invalid_request",
    status=400,
    text="this route takes no parameters; send the token as Authorization: Bearer",
):
    """GET /usage was sent a query. Whose usage it answers is the token's to say, which comes in a header."""


class NotAnAdministrator(
    Refusal,
    reason="not_an_administrator",
    error="forbidden",
    status=403,
    text="sign the request as an administrator",
):
    """The request has no administrator's AWS identity. Sign it as one."""
