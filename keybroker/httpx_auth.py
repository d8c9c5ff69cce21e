"""The form in which httpx, and httpx2, take what makes tokens: `Client(auth=…)`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import SplitResult, urlsplit

from keybroker.errors import KeybrokerError, NotConfigured

_PLACES = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
"""Where SDKs put their key: whatever stands there is taken off, since the edge refuses two different tokens."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How to get a token, another one than the rejected text that is given; and where the edge is."""

    token: Callable[[str | None], str]
    token_async: Callable[[str | None], Awaitable[str]]
    base_url: Callable[[], str]


def make_auth(httpx: ModuleType, asked: Asked) -> Any:  # noqa: ANN401  a class of that module, which may not be installed
    """Return an `httpx.Auth` that sends a valid token; a 401 gets one fresh token and one repetition.

    Not repeated: a request whose body is a stream, which is gone. Raises, from the client's call, KeybrokerError if there
    is no token, and NotConfigured if the call goes to another host than the edge.
    """

    class KeybrokerAuth(httpx.Auth):  # type: ignore[misc, name-defined]  # known at run time only
        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:  # noqa: ANN401  httpx's
            text = asked.token(None)
            response = yield _opened(request, text, asked)
            if response.status_code != 401 or not isinstance(request.stream, httpx.ByteStream):
                return
            try:
                another = asked.token(text)
            except KeybrokerError:
                return  # the edge's own words say what is wrong
            if another != text:
                yield _opened(request, another, asked)

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:  # noqa: ANN401  httpx's
            text = await asked.token_async(None)
            response = yield _opened(request, text, asked)
            if response.status_code != 401 or not isinstance(request.stream, httpx.ByteStream):
                return
            try:
                another = await asked.token_async(text)
            except KeybrokerError:
                return
            if another != text:
                yield _opened(request, another, asked)

    return KeybrokerAuth()


def _opened(request: Any, token: str, asked: Asked) -> Any:  # noqa: ANN401  httpx's
    """Return the request with the token in it, and nothing else that could be a key."""
    edge = urlsplit(asked.base_url())
    # SECURITY: a token goes to the edge and nowhere else (test_a_token_is_not_sent_to_another_host).
    if _origin(urlsplit(str(request.url))) != _origin(edge):
        raise NotConfigured(
            f"this auth is for {edge.scheme}://{edge.netloc}, and the request goes to {request.url.host}; "
            "if that is the edge by another name, give it to the provider as base_url"
        )
    for name in _PLACES:
        request.headers.pop(name, None)
    request.headers["authorization"] = f"Bearer {token}"
    return request


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80)
