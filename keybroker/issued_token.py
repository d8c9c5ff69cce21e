"""The token that a broker hands out."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Token:
    """A token of minutes that stands in for a provider's key.

    access_token: send it wherever the provider's SDK wants its API key. expires_in: seconds it lives, counted from the
    answer. scope: what it opens, `METHOD:/path` values with spaces between. base_url: give it to the SDK.
    """

    # SECURITY: a token must not reach a log by way of a repr (test_the_token_is_not_in_its_repr).
    access_token: str = field(repr=False)
    expires_in: int
    scope: str
    base_url: str
