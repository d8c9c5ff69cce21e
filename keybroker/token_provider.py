"""What a program holds instead of a provider's key: returns a valid token whenever an SDK asks for its key."""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from keybroker import clock
from keybroker.broker_url import check_broker_url
from keybroker.errors import NotConfigured
from keybroker.shared_token import HeldToken, SharedToken
from keybroker.token import Token, TokenRequest

if TYPE_CHECKING:
    import httpx
    import httpx2

    from keybroker.anthropic_credentials import Credentials

URL_VARIABLE = "KEYBROKER_URL"


class TokenProvider:
    """Provides tokens for one key of the broker, e.g. `openai`: `OpenAI(api_key=provider, base_url=provider.base_url)`.

    Safe to share between threads, event loops and, after a fork, processes; create one for each key and keep it. Nothing
    is fetched until the first token, or `base_url`, is asked for. All its forms serve the same token, which is replaced
    in the background before it expires (docs/library.md).
    """

    def __init__(  # noqa: PLR0913  what a token request has, and the edge's address
        self,
        key: str,
        url: str | None = None,
        *,
        grant: str | None = None,
        scope: str | None = None,
        audience: str | None = None,
        base_url: str | None = None,
        region: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        """Raise NotConfigured if the broker URL is missing or unusable.

        key: the name of a key in the broker's policy.
        url: the broker's; by default KEYBROKER_URL.
        grant: needed where several match.
        scope: `METHOD:/path` values separated by spaces, to get less than the grant allows.
        audience: the `aud` of the identity token; by default KEYBROKER_AUDIENCE, then `keybroker`.
        base_url: the edge's address for this key, if it differs here from what the broker says.
        region: the broker's AWS region, if its host name does not say it.
        timeout: seconds to connect, and again until the response is complete, for each of at most two requests.
        """
        broker = url or os.environ.get(URL_VARIABLE)
        if not broker:
            raise NotConfigured(f"no broker URL: set {URL_VARIABLE} or pass url=…")
        check_broker_url(broker)
        if not key:
            raise NotConfigured("no key name: pass one, e.g. TokenProvider('openai')")
        self._request = TokenRequest(broker, key, grant, scope, audience, region, timeout)
        self._base_url = base_url
        self._shared = SharedToken(functools.partial(_fetch, self._request))

    def __call__(self) -> str:
        """Return a valid token's text; raises KeybrokerError."""
        return self._shared.get().token.access_token

    def token(self) -> Token:
        """Return a valid token, with the seconds that it has left as `expires_in`; raises KeybrokerError."""
        return _as_of_now(self._shared.get())

    @property
    def base_url(self) -> str:
        """The edge's address, as the SDK of this key's provider expects it; fetches a token if there is none yet."""
        return self._base_url or self._shared.get().token.base_url

    def another(self, rejected: str | None) -> str:
        """Return a valid token's text, another than the rejected one if possible; raises KeybrokerError."""
        return self._shared.get(rejected).token.access_token

    def async_(self) -> Callable[[], Awaitable[str]]:
        """Return an async function that returns a valid token's text, in any event loop."""

        async def provide() -> str:
            return (await self._shared.get_async()).token.access_token

        return provide

    def anthropic(self) -> Credentials:
        """Return the `credentials` for Anthropic's SDK, sync and async."""
        from keybroker.anthropic_credentials import make_credentials  # noqa: PLC0415  for those who use it

        return make_credentials(self.another)

    def httpx_auth(self) -> httpx.Auth:
        """Return the `auth` for httpx clients."""
        import httpx  # noqa: PLC0415  only callers of this have it installed

        return self._auth(httpx)  # type: ignore[no-any-return]  # made at run time

    def httpx2_auth(self) -> httpx2.Auth:
        """Return the `auth` for httpx2 clients."""
        import httpx2  # noqa: PLC0415  as above

        return self._auth(httpx2)  # type: ignore[no-any-return]  # made at run time

    def revoke(self) -> None:
        """Revoke the held token, if there is one; the next call fetches another. Raises Refused or Unreachable."""
        from keybroker.client import revoke_token  # noqa: PLC0415  a job's last step

        held = self._shared.discard()
        if held is not None:
            revoke_token(self._request.url, held.token.access_token, timeout=self._request.timeout)

    def __repr__(self) -> str:
        # SECURITY: no token (test_a_provider_shows_no_token).
        return f"TokenProvider({self._request.key!r}, url={self._request.url!r})"

    def __deepcopy__(self, _memo: object) -> TokenProvider:
        return self  # SDKs copy their settings, and the copies must share the token

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process gets the request and not the token, and fetches its own.
        request = asdict(self._request)
        key, url = request.pop("key"), request.pop("url")
        return functools.partial(TokenProvider, key, url, base_url=self._base_url, **request), ()

    def _auth(self, module: Any) -> Any:  # noqa: ANN401  httpx or httpx2, see make_auth
        from keybroker.httpx_auth import TokenSource, make_auth  # noqa: PLC0415  for those who use it

        async def another_async(rejected: str | None) -> str:
            return (await self._shared.get_async(rejected)).token.access_token

        return make_auth(module, TokenSource(self.another, another_async, lambda: self.base_url))


def _fetch(request: TokenRequest) -> Token:
    from keybroker.fetch import fetch  # noqa: PLC0415  ssl and http.client are slow to import, and this is another thread

    return fetch(request)


def _as_of_now(held: HeldToken) -> Token:
    left = held.token.expires_in - held.age(clock.now())
    return replace(held.token, expires_in=max(0, int(left)))
