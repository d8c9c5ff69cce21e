"""What was worked out for a call in the same words: remembered by a server, whose clients send the same head with every call.

Only what follows from those words and from what they were decided under, each of them the very same object. What may be
otherwise with the next call is looked at again: times, revocations, quotas, the body, and whether grant and key still are
the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chalicelib.edge.call import Call
    from chalicelib.edge.door import OnItsWay
    from chalicelib.edge.token import VerifiedToken
    from chalicelib.policy.grants import Grant
    from chalicelib.providers.keys import KeyConfig, ProviderKey
    from chalicelib.tokens.verify import VerifiedSignature


class KnownCall:
    """What is known of calls with one method, target, headers and source address, from one to the next.

    call: one of them, whose body and id are its own. signed: the signature of its token, which was verified. form: what the
    server has made of `on_its_way`.
    """

    __slots__ = ("_on_its_way", "_provider_key", "_sent", "_under", "call", "form", "signed")

    def __init__(self) -> None:
        self.call: Call | None = None
        self.form: object = None
        self.signed: VerifiedSignature | None = None
        self._under: tuple[VerifiedToken, KeyConfig, Grant] | None = None
        self._sent = "", ""
        self._provider_key: ProviderKey | None = None
        self._on_its_way: OnItsWay | None = None

    def provider_form(self, token: VerifiedToken, key: KeyConfig, grant: Grant) -> tuple[str, str] | None:
        """Return the path and query that such a call was sent with, if it may go on under these; None if that is not known."""
        # SECURITY: under the very same three, and no other (test_what_is_known_is_known_under_the_same_alone).
        under = self._under
        if under is None or under[0] is not token or under[1] is not key or under[2] is not grant:
            return None
        return self._sent

    def may_go_on(self, token: VerifiedToken, key: KeyConfig, grant: Grant, sent: tuple[str, str]) -> None:
        """Note that such a call may go on under these, and the path and query that it is sent with."""
        self._under, self._sent = (token, key, grant), sent
        self._on_its_way = self._provider_key = self.form = None

    def on_its_way(self, provider_key: ProviderKey) -> OnItsWay | None:
        """Return what such a call goes on as with a provider key; None if that is not known."""
        return self._on_its_way if self._provider_key is provider_key else None

    def goes_on(self, provider_key: ProviderKey, on_its_way: OnItsWay) -> None:
        """Note what such a call goes on as."""
        self._provider_key, self._on_its_way, self.form = provider_key, on_its_way, None
