"""Adapts a token provider to Anthropic's SDK: `Anthropic(credentials=…)`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

from keybroker.errors import KeybrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropic import AccessToken

_NEVER_CACHED = 0
"""As `expires_at`: makes the SDK ask each time, since the token is cached here."""


class Credentials(Protocol):
    """What Anthropic's SDK calls before each request, and with `force_refresh` after a 401."""

    def __call__(self, *, force_refresh: bool = False) -> AccessToken:
        """Return a token."""


def make_credentials(get_token: Callable[[str | None], str]) -> Credentials:
    """Return the credentials. get_token: returns a valid token; given a rejected one, another.

    Its errors are also AnthropicErrors: the SDK reports any other as "Connection error.", after two retries.
    """
    from anthropic import AccessToken  # noqa: PLC0415  only callers of this have it installed

    last: list[str] = []

    def provide(*, force_refresh: bool = False) -> AccessToken:
        try:
            text = get_token(last[0] if force_refresh and last else None)
        except KeybrokerError as error:
            raise _as_anthropic_error(error) from None
        last[:] = [text]
        return AccessToken(token=text, expires_at=_NEVER_CACHED)

    return provide


def _as_anthropic_error(error: KeybrokerError) -> KeybrokerError:
    """Return the same error as an instance of AnthropicError, too."""
    kind: Any = type(error)
    copy: KeybrokerError = _both(kind)(*error.args)
    copy.__dict__.update(error.__dict__)
    return copy


@functools.cache
def _both(kind: Any) -> Any:  # noqa: ANN401  a class, and one that only exists at run time
    from anthropic import AnthropicError  # noqa: PLC0415  as above

    return type(kind.__name__, (kind, AnthropicError), {"__module__": kind.__module__, "__doc__": kind.__doc__})
