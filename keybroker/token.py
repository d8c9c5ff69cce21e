"""A token, and the request for one."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Token:
    """A token that stands in for a provider's key for some minutes.

    access_token: send it wherever the provider's SDK wants its API key.
    expires_in: seconds it lives, counted from the response.
    scope: what it opens, `METHOD:/path` values separated by spaces.
    base_url: give it to the SDK.
    """

    # SECURITY: a token must not reach a log by way of a repr (test_the_token_is_not_in_its_repr).
    access_token: str = field(repr=False)
    expires_in: int
    scope: str
    base_url: str


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Which token to get, and from which broker.

    url: the broker's.
    key: the key's name in the broker's policy, the `audience` of the token request.
    grant: needed where several match.
    scope: `METHOD:/path` values separated by spaces, to get less than the grant allows.
    audience: the `aud` of the identity token; None for the default.
    region: the broker's AWS region, for signed requests; None to find it out.
    timeout: seconds to connect, and again until the response is complete.
    """

    url: str
    key: str
    grant: str | None = None
    scope: str | None = None
    audience: str | None = None
    region: str | None = None
    timeout: float = 10.0
