"""The form in which Anthropic's SDK takes what makes tokens: `Anthropic(credentials=…)`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

from keybroker.errors import KeybrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropic import AccessToken

_ASK_EACH_TIME = 0
"""As `expires_at`: what provides the token keeps it itself."""


class Credentials(Protocol):
    """What Anthropic's SDK calls before each request, and with `force_refresh` after a 401."""

    def __call__(self, *, force_refresh: bool = False) -> AccessToken:
        """Return a token."""


def credentials(token: Callable[[str | None], str]) -> Credentials:
    """Return the credentials. token: gives a valid token, another one than the rejected text that it is given.

    Its errors are also AnthropicErrors: any other one would reach the user as "Connection error.", after two retries.
    """
    from anthropic import AccessToken  # noqa: PLC0415  whoever calls this has it; others need not

    last: list[str] = []

    def provide(*, force_refresh: bool = False) -> AccessToken:
        try:
            text = token(last[0] if force_refresh and last else None)
        except KeybrokerError as fault:
            raise _for_anthropic(fault) from None
        last[:] = [text]
        return AccessToken(token=text, expires_at=_ASK_EACH_TIME)

    return provide


def _for_anthropic(fault: KeybrokerError) -> KeybrokerError:
    """Return the same error, which is an AnthropicError too."""
    kind: Any = type(fault)
    another: KeybrokerError = _both(kind)(*fault.args)
    another.__dict__.update(fault.__dict__)
    return another


@functools.cache
def _both(kind: Any) -> Any:  # noqa: ANN401  a class, and one that only exists at run time
    from anthropic import AnthropicError  # noqa: PLC0415  as above

    return type(kind.__name__, (kind, AnthropicError), {"__module__": kind.__module__, "__doc__": kind.__doc__})
