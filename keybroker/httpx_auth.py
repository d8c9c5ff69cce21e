"""Adapts a token provider to httpx and httpx2: `Client(auth=…)`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import SplitResult, urlsplit

from keybroker.errors import KeybrokerError, NotConfigured

KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
"""Where SDKs put their key: removed from each request, since the edge refuses two different tokens."""


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where the auth gets its tokens.

    get, get_async: return a valid token; given a rejected one, another. base_url: returns the edge's address.
    """

    get: Callable[[str | None], str]
    get_async: Callable[[str | None], Awaitable[str]]
    base_url: Callable[[], str]


def make_auth(httpx: ModuleType, source: TokenSource) -> Any:  # noqa: ANN401  a class of that module
    """Return an `httpx.Auth` that sends a valid token; after a 401 it repeats the request once, with a fresh token.

    A request whose body is a stream is not repeated: the stream is used up. From the client's call, raises KeybrokerError
    if there is no token, and NotConfigured if the call goes to another host than the edge.
    """

    class KeybrokerAuth(httpx.Auth):  # type: ignore[misc, name-defined]  # only known at run time
        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:  # noqa: ANN401  httpx's
            token = source.get(None)
            response = yield _with_token(request, token, source)
            if response.status_code != 401 or not isinstance(request.stream, httpx.ByteStream):
                return
            try:
                another = source.get(token)
            except KeybrokerError:
                return  # the edge's own response says what is wrong
            if another != token:
                yield _with_token(request, another, source)

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:  # noqa: ANN401  httpx's
            token = await source.get_async(None)
            response = yield _with_token(request, token, source)
            if response.status_code != 401 or not isinstance(request.stream, httpx.ByteStream):
                return
            try:
                another = await source.get_async(token)
            except KeybrokerError:
                return
            if another != token:
                yield _with_token(request, another, source)

    return KeybrokerAuth()


def _with_token(request: Any, token: str, source: TokenSource) -> Any:  # noqa: ANN401  httpx's
    """Return the request with the token as its only key."""
    edge = urlsplit(source.base_url())
    # SECURITY: a token goes to the edge and nowhere else (test_a_token_is_not_sent_to_another_host).
    if _origin(urlsplit(str(request.url))) != _origin(edge):
        raise NotConfigured(
            f"this auth sends tokens to {edge.scheme}://{edge.netloc} only, but the request goes to {request.url.host}; "
            "if that is another address of the edge, pass it to the provider as base_url"
        )
    for name in KEY_HEADERS:
        request.headers.pop(name, None)
    request.headers["authorization"] = f"Bearer {token}"
    return request


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80)
