"""The refusals of the edge: why a call with a token does not go on to its provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chalicelib import budget
from chalicelib.budget import Balance, BudgetLimit
from chalicelib.duration import words
from chalicelib.errors import OperatorNeeded, Refusal, Unavailable
from chalicelib.quota import Exceeded
from chalicelib.revocation import SCOPES
from chalicelib.tokens.errors import REASONS

_INVALID: Mapping[str, str] = {
    "exp_past": "the token has expired; get a fresh one",
    # Description of tokens that we signed only, and of no key whether it is there (test_edge.py).
    "aud_wrong": "the token is for another key than this path's; use the base_url that came with the token",
}
"""What a caller is told of a token that does not verify, where that helps."""


class EventMalformed(Unavailable, reason="event_malformed"):
    """What the edge function was given is no event of CloudFront's; the log names the kind of fault. Retry."""


class MethodOverride(Refusal, reason="method_override", error="invalid_request", status=400):
    """A header, query parameter, form field or member of the body asks for another method. Send the method itself."""

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} overrides the method; send the method itself")


class NoWebSocket(
    Refusal,
    reason="web_socket",
    error="upgrade_not_supported",
    status=400,
    text="WebSocket connections are not supported here; use HTTP",
):
    """The request asks for a WebSocket, of an edge at CloudFront. Use HTTP, or a gateway."""


class MethodCut(
    Refusal,
    reason="method_cut",
    error="invalid_request",
    status=413,
    text="the body may ask for another method (`_method`), and the grant does not open GET, PUT, PATCH and DELETE here, so"
    " it is read, of which the edge sees 1 MiB at most; send less",
):
    """The body of a POST is over 1 MiB, and its API may read another method in it. Send less, or open all methods."""


class MethodUnclear(
    Refusal,
    reason="method_unclear",
    error="invalid_request",
    status=415,
    text="the body may ask for another method (`_method`), and the grant does not open GET, PUT, PATCH and DELETE here, so"
    " it is read: send it uncompressed, with one Content-Type, in UTF-8",
):
    """The body of a POST is compressed or of an unclear type, and its API may read another method in it. Send it plainly."""


class HeaderName(
    Refusal,
    reason="header_name",
    error="invalid_request",
    status=400,
    text="a header's name has a character that no name has",
):
    """A header's name is not one (RFC 9110, section 5.6.2). Send a plain one."""


class TokenMissing(
    Refusal,
    reason="token_missing",
    error="invalid_token",
    status=401,
    text="no token: send a Keybroker token as the API key; if a command was to get it, its own error says why it did not",
):
    """The call has no token. Send one as the API key; a command that gets it for the program has said why it could not."""


class TwoTokens(
    Refusal,
    reason="two_tokens",
    error="invalid_request",
    status=400,
    text="two different tokens were sent; send one",
):
    """The call has two different tokens. Send one."""


class TokenInQuery(
    Refusal,
    reason="token_in_query",
    error="invalid_request",
    status=400,
    text="the token must be in a header for this API, not in the query",
):
    """The token is in the query of an API that takes it in a header. Send it in the header."""


class TokenInPath(
    Refusal,
    reason="token_in_path",
    error="invalid_request",
    status=400,
    text="the token must be in a header, not in the path",
):
    """The token is in the path, where the provider would see it. Send it in the header."""


class InvalidToken(Refusal, reason=REASONS, error="invalid_token", status=401):
    """The token does not verify. Get a fresh one from the broker."""

    def __init__(self, reason: str) -> None:
        super().__init__(_INVALID.get(reason, "not a valid token for this"), reason=reason)


class Revoked(Refusal, reason=tuple(f"revoked_{scope}" for scope in SCOPES), error="revoked", status=403):
    """Access is revoked: of everything, the issuer, key, grant, principal or token. Only an administrator restores it."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"access is revoked ({scope})", reason=f"revoked_{scope}")


class Stale(Refusal, reason=tuple(f"stale_{scope}" for scope in SCOPES), error="invalid_token", status=401):
    """The token was issued before a revocation that was restored since, or before the policy was narrowed. Get a fresh one."""

    def __init__(self, scope: str) -> None:
        narrowed = " or a narrower policy" if scope in ("issuer", "grant") else ""
        text = f"the token was issued before a revocation{narrowed} ({scope}); get a fresh one"
        super().__init__(text, reason=f"stale_{scope}")


class SigningKeyGone(
    Refusal,
    reason="signing_key_gone",
    error="invalid_token",
    status=401,
    text="the token's signing key is no longer valid",
):
    """The token was signed with a key that is no longer live. Get a fresh one."""


class GrantGone(Refusal, reason="grant_gone", error="revoked", status=403, text="the grant is no longer there"):
    """The policy no longer has the token's grant or key. Ask an administrator."""


class GrantChanged(
    Refusal, reason="grant_changed", error="revoked", status=403, text="the grant is now for something else"
):
    """The token's grant is now for another key or issuer. Get a fresh token for what the policy grants now."""


class PathClosed(
    Refusal,
    reason="path_closed",
    error="insufficient_scope",
    status=403,
    text="this endpoint is closed for every grant",
):
    """The provider's endpoint is closed for every grant (docs/providers.md)."""


class OutOfScope(Refusal, reason="out_of_scope", error="insufficient_scope", status=403):
    """The token's scope or the grant's does not open this method and path. Ask for a grant that does."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"the token does not open {method} {path}"[:200])  # a path may be thousands long, or a token


class AddressRefused(
    Refusal,
    reason="address_refused",
    error="insufficient_scope",
    status=403,
    text="the grant does not admit your address",
):
    """The grant does not admit the caller's IP address. Call from one that it admits."""


class UrlTooLong(Refusal, reason="url_too_long", error="invalid_request", status=413):
    """The URL is longer than CloudFront sends on. Send a shorter one."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the URL is over {limit} bytes")


class CallsUsedUp(Refusal, reason="quota_calls", error="quota_exceeded", status=429, retryable=True):
    """The grant's quota of calls is used up. Retry once the window ends (`Retry-After`)."""

    def __init__(self, over: Exceeded, whose: str) -> None:
        text = f"the quota of {over.limit} calls {whose} is used up; the window ends in {words(over.retry_after)}"
        super().__init__(text, retry_after=over.retry_after)


class BudgetUsedUp(Refusal, reason=("quota_usage", "quota_spend"), error="quota_exceeded", status=429, retryable=True):
    """What the grant lets models take is used up, or reserved by calls under way. Retry after `Retry-After`, or ask for less.

    left: how every limit stands, for the headers.
    """

    def __init__(self, balances: Sequence[Balance], amounts: Mapping[str, int], now: int) -> None:
        over = next(one for one in balances if not one.has_room(amounts[one.limit.what]))
        what, seconds = over.limit.what, budget.retry_after(balances, amounts, now)
        whose = "of all callers together" if over.limit.shared else "of yours"
        left = budget.amount_text(what, max(0, over.limit.amount - over.taken))
        text = (
            f"of the quota of {over.limit} {whose} {left} are left, and this call may take"
            f" {budget.amount_text(what, amounts[what])}; set a lower limit of its output, or try again in {words(seconds)}"
        )
        super().__init__(text, reason=f"quota_{what}", retry_after=seconds)
        self.left: Final = budget.allowances(balances, now)


class BeyondBudget(Refusal, reason=("usage_beyond_quota", "spend_beyond_quota"), error="invalid_request", status=400):
    """The call alone may take more than the grant lets models take in a whole window. Set a lower limit of its output, or send less."""

    def __init__(self, limit: BudgetLimit, amount: int, output: int) -> None:
        text = (
            f"this call may take {budget.amount_text(limit.what, amount)}, more than the whole quota of {limit}; its output"
            f" counts as {output} tokens: set a lower limit of it (such as max_tokens), or send less"
        )
        super().__init__(text, reason=f"{limit.what}_beyond_quota")


class SpendUnknown(Refusal, reason="spend_unknown", error="insufficient_scope", status=403):
    """The grant limits money, and what this call costs is not known. Use a model with a price, at its usual price."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the grant limits what models cost, and {why}")


class BudgetsNotKept(
    OperatorNeeded,
    reason="budgets_not_kept",
    text="the grant limits what models take, which this edge cannot hold callers to",
):
    """The grant limits what models take, and this edge sees no answers. Call one that does, or ask an administrator."""


class RefusedTooOften(Refusal, reason="refused_too_often", error="quota_exceeded", status=429, retryable=True):
    """So many of the principal's calls were refused this minute that this token's next ones are not looked at. Mend what is refused."""

    def __init__(self, limit: int, retry_after: int) -> None:
        text = f"{limit} calls of yours were refused this minute; it ends in {words(retry_after)}"
        super().__init__(text, retry_after=retry_after)


class NoPage(Refusal, reason="no_page", error="not_found", status=404, text="there is nothing at this path"):
    """The edge has no page of its own at this path. Use /<key>/<the provider's own path>."""


class PageMethod(
    Refusal,
    reason="method_not_allowed",
    error="method_not_allowed",
    status=405,
    text="this path is for GET only",
):
    """The edge's own page is for GET only."""

    def __init__(self) -> None:
        super().__init__(headers={"allow": "GET"})
