"""A call as a caller attempts it, and as it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from chalicelib.models.body import NOT_SHOWN, CallBody
from chalicelib.providers.keys import ProviderKey

if TYPE_CHECKING:
    from chalicelib.edge.billing import Bill
    from chalicelib.edge.known_calls import KnownCall
    from chalicelib.edge.token import VerifiedToken


@dataclass(slots=True, unsafe_hash=True)  # not frozen, which costs a call a microsecond; nobody changes it
class Call:
    """What a caller attempts: one method on one path of one key."""

    unverified_token: str
    key: str
    """The key's name, the first segment of the URL's path."""
    method: str
    path: str
    """The rest of the URL's path, from its `/`; as the caller writes it until a decision has put it in the provider's form."""
    source_ip: str = ""
    """The caller's address as CloudFront saw it; "" if it did not."""
    body: CallBody = NOT_SHOWN
    """Read only where a grant limits models."""
    query: str = ""
    """Without its `?`; otherwise as `path`."""
    id: str = ""
    """Its request id, by which what it reserves of a budget is known."""

    known: KnownCall | None = field(default=None, compare=False)
    """What is known of calls in the same words, where a server remembers that."""

    def __repr__(self) -> str:
        # SECURITY: a token must not reach a log by way of a repr (test_canary.py).
        return f"Call(key={self.key!r}, method={self.method!r}, path={self.path!r})"


def _keep(reason: str) -> None:
    """Give nothing back: the call was not counted."""


class Admitted(NamedTuple):
    """A call that goes on."""

    key: ProviderKey
    """The provider key that it goes on with, and its origin."""
    principal: str
    """For the log, as `grant` and `jti`."""
    grant: str
    jti: str
    path: str = "/"
    """In the provider's own form: what was checked, and no other may be sent."""
    query: str = ""
    """As `path`."""
    give_back: Callable[[str], None] = _keep
    """Counts the call as refused for a reason instead, if nothing of it was sent to the provider; raises Unavailable."""
    token: VerifiedToken | None = None
    """The token that it was admitted with, for as long as it is under way (running.py)."""
    key_name: str = ""
    """The name of the key, as the policy has it."""
    provider: str = ""
    """Whose key it is: a name of PROVIDERS."""
    bill: Bill | None = None
    """What it has reserved of its grant's budget, to be settled when it has ended; None if it has none."""

    def __repr__(self) -> str:
        # SECURITY: a query may be anything, and the key redacts itself (test_canary.py).
        return f"Admitted(key={self.key!r}, principal={self.principal!r}, grant={self.grant!r}, path={self.path!r})"
