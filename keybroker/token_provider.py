"""What a program holds instead of a provider's key: gives a valid token whenever an SDK asks for its key."""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from keybroker import elapsed
from keybroker.broker_url import checked_broker
from keybroker.errors import NotConfigured
from keybroker.issued_token import Token
from keybroker.shared_token import Held, SharedToken
from keybroker.wish import Wish

if TYPE_CHECKING:
    import httpx
    import httpx2

    from keybroker.anthropic_form import Credentials

URL = "KEYBROKER_URL"


class TokenProvider:
    """Gives tokens for one key of the broker, e.g. `openai`: `OpenAI(api_key=provider, base_url=provider.base_url)`.

    Safe to share between threads, event loops and, after a fork, processes; make one for each key and keep it. Nothing is
    fetched before the first token, or `base_url`, is asked for. Every form of it serves the same token, which is replaced
    ahead of its end while it is still served (docs/library.md).
    """

    def __init__(  # noqa: PLR0913  what a token request has, and where the two ends are
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
        """Raise NotConfigured if the broker's URL is missing or unusable.

        key: the name of a key in the broker's policy. url: the broker's; KEYBROKER_URL unless given. grant: needed where
        several match. scope: `METHOD:/path` values with spaces between, to get less than the grant allows. audience: the
        `aud` of the identity token; KEYBROKER_AUDIENCE, or else `keybroker`, unless given. base_url: of the edge, if it
        has another address here than the broker says. region: the broker's on AWS, if its host does not say it.
        timeout: seconds to connect, and again until the answer is there, for each of at most two requests.
        """
        where = url or os.environ.get(URL)
        if not where:
            raise NotConfigured(f"the broker's URL is missing: set {URL}, or give url=…")
        checked_broker(where)
        if not key:
            raise NotConfigured("name the key, e.g. TokenProvider('openai')")
        self._wish = Wish(where, key, grant, scope, audience, region, timeout)
        self._base_url = base_url
        self._shared = SharedToken(functools.partial(_fetch, self._wish))

    def __call__(self) -> str:
        """Return a valid token's text; raises KeybrokerError."""
        return self._shared.get().token.access_token

    def token(self) -> Token:
        """Return a valid token, `expires_in` being the seconds that it still lives; raises KeybrokerError."""
        return _as_of_now(self._shared.get())

    @property
    def base_url(self) -> str:
        """The edge's address, as the SDK of this key's provider wants it; fetches a token if there is none yet."""
        return self._base_url or self._shared.get().token.base_url

    def another(self, rejected: str | None) -> str:
        """Return a valid token's text that is not the rejected one, if there can be one; raises KeybrokerError."""
        return self._shared.get(rejected).token.access_token

    def async_(self) -> Callable[[], Awaitable[str]]:
        """Return what gives a valid token's text when it is called and awaited, in any event loop."""

        async def provide() -> str:
            return (await self._shared.get_async()).token.access_token

        return provide

    def anthropic(self) -> Credentials:
        """Return what Anthropic's SDK takes as `credentials`, for its sync and its async client."""
        from keybroker.anthropic_form import credentials  # noqa: PLC0415  imports anthropic

        return credentials(self.another)

    def httpx_auth(self) -> httpx.Auth:
        """Return what httpx's clients take as `auth`."""
        import httpx  # noqa: PLC0415  whoever calls this has it; others need not

        return self._auth(httpx)  # type: ignore[no-any-return]  # made at run time

    def httpx2_auth(self) -> httpx2.Auth:
        """Return what httpx2's clients take as `auth`."""
        import httpx2  # noqa: PLC0415  as above

        return self._auth(httpx2)  # type: ignore[no-any-return]  # made at run time

    def revoke(self) -> None:
        """Take the held token back, if there is one; the next call fetches another. Raises Refused or Unreachable."""
        from keybroker.revoke import revoke_token  # noqa: PLC0415  a job's last step

        held = self._shared.forget()
        if held is not None:
            revoke_token(self._wish.url, held.token.access_token, timeout=self._wish.timeout)

    def __repr__(self) -> str:
        # SECURITY: no token (test_a_provider_shows_no_token).
        return f"TokenProvider({self._wish.key!r}, url={self._wish.url!r})"

    def __deepcopy__(self, _memo: object) -> TokenProvider:
        return self  # SDKs copy their settings, and the copies are meant to share the token

    def __reduce__(self) -> tuple[Any, ...]:
        # What is sent to another process is what to ask for; it fetches a token of its own.
        wish = asdict(self._wish)
        key, url = wish.pop("key"), wish.pop("url")
        return functools.partial(TokenProvider, key, url, base_url=self._base_url, **wish), ()

    def _auth(self, module: Any) -> Any:  # noqa: ANN401  httpx or httpx2, see make_auth
        from keybroker.httpx_auth import Asked, make_auth  # noqa: PLC0415  for those who use it

        async def another_async(rejected: str | None) -> str:
            return (await self._shared.get_async(rejected)).token.access_token

        return make_auth(module, Asked(self.another, another_async, lambda: self.base_url))


def _fetch(wish: Wish) -> Token:
    from keybroker.fetch import fetch  # noqa: PLC0415  ssl and http.client take long to import, and this is another thread

    return fetch(wish)


def _as_of_now(held: Held) -> Token:
    left = held.token.expires_in - held.age(elapsed.now())
    return replace(held.token, expires_in=max(0, int(left)))
