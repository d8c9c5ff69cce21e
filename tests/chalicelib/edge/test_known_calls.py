"""What is known of calls in the same words: it changes nothing but how long they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.edge.door import Answer, EdgeDoor, OnItsWay, Request
from chalicelib.edge.headers import Headers
from chalicelib.edge.known_calls import KnownCall
from chalicelib.errors import Refusal
from chalicelib.models.body import CallBody
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import VerifyingKey
from tests.parts import NOW, SUB, Parts, claims_of, grant, parts_in

pytestmark = pytest.mark.inside  # a server remembers it, and the edge's zip does not
CHAT = "/openai/v1/chat/completions"
Step = Callable[[Parts, str], object]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant())
        yield made


class Keys:
    """The signing keys, until they are gone."""

    def __init__(self, parts: Parts) -> None:
        self._keys, self.are_gone = parts.signer, False

    def find(self, kid: str, now: int) -> VerifyingKey:
        """See `SigningKeys.find`."""
        if self.are_gone:
            raise InvalidTokenError("kid_unknown")
        return self._keys.find(kid, now)


class Doors:
    """Two doors to the same rules and state: one remembers what is known of a call, and one does not."""

    def __init__(self, parts: Parts, keys: Keys | None = None) -> None:
        self.now, self.refused = NOW, list[str]()
        edge = replace(parts.edge_parts(), signing_keys=keys or parts.signer)
        ports = parts.edge_ports([])._replace(edge=edge, clock=lambda: self.now)
        self._door = EdgeDoor(lambda: ports, lambda _line: None, self._refuse)
        self._known = KnownCall()

    def _refuse(self, _request_id: str, refusal: Refusal) -> None:
        self.refused.append(refusal.reason)

    def call(self, token: str, *, known: bool, path: str = CHAT, body: bytes = b"{}") -> OnItsWay | str:
        """Return what a call goes on as, or why it was refused."""
        headers = Headers(
            ("authorization", "content-type", "host"),
            ("Authorization", "Content-Type", "Host"),
            (f"Bearer {token}", "application/json", "edge"),
        )
        shown = CallBody(None, truncated=False, content_types=("application/json",), received=body)
        request = Request("POST", path, "", headers, "192.0.2.7", shown, self._known if known else None)
        found = self._door.serve("r-1", lambda: request)
        return self.refused[-1] if isinstance(found, Answer) else found

    def both(self, token: str) -> OnItsWay | str:
        """Return the same of one that is known and of one that is not: they do not differ."""
        known, other = (self.call(token, known=one) for one in (True, False))
        assert known == other
        return known


def narrow(parts: Parts, _token: str) -> None:
    parts.apply(grant(scope='["GET:/v1/models"]'))


def bind(parts: Parts, _token: str) -> None:
    parts.apply(grant(source_ips='["198.51.100.0/24"]'))


def lower(parts: Parts, _token: str) -> None:
    parts.apply(grant(quota="{tokens: 100/hour, calls: 1/day}"))


def limit_models(parts: Parts, _token: str) -> None:
    parts.apply(grant(models="[gpt-5-mini]"))


def revoke(scope: str) -> Step:
    def act(parts: Parts, token: str) -> None:
        targets = {
            "token": claims_of(token)["jti"],
            "principal": SUB,
            "grant": "app",
            "key": "openai",
            "everything": "*",
        }
        parts.revoke(scope, targets[scope])

    return act


def forget_signing_key(parts: Parts, _token: str) -> None:
    parts.control.list_signing_keys(("another",))


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (narrow, "out_of_scope"),
        (bind, "address_refused"),
        (lower, "quota_calls"),
        (limit_models, "model_missing"),
        (forget_signing_key, "signing_key_gone"),
        *[(revoke(scope), f"revoked_{scope}") for scope in ("token", "principal", "grant", "key", "everything")],
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_known_is_known_under_the_same_alone(parts: Parts, act: Step, reason: str) -> None:
    """Whatever stops the next call stops one that is known: narrower grants, limits, revocations, keys that are gone."""
    doors, token = Doors(parts), parts.token()
    assert all(isinstance(doors.call(token, known=True), OnItsWay) for _ in range(3))
    act(parts, token)
    assert doors.both(token) == reason


def test_a_new_provider_key_is_used_at_once(parts: Parts) -> None:
    """A call that is known goes on with the key in force, whatever it went on with before, and to that key's origin."""
    doors, token = Doors(parts), parts.token()
    before = doors.both(token)
    parts.set_key("openai", "sk-next", origin="https://eu.api.openai.com")
    after = doors.both(token)
    assert isinstance(before, OnItsWay)
    assert isinstance(after, OnItsWay)
    assert (before.headers.values[-1], after.headers.values[-1]) == (
        "Bearer sk-real-0123456789abcdef",
        "Bearer sk-next",
    )
    assert (after.origin.host, after.headers.all("host")) == ("eu.api.openai.com", ["eu.api.openai.com"])


def test_a_known_call_ends_with_its_token(parts: Parts) -> None:
    """At the second at which its token expires a call is refused, known or not."""
    doors, token = Doors(parts), parts.token()
    expires = int(claims_of(token)["exp"])
    doors.now = expires - 1
    assert isinstance(doors.both(token), OnItsWay)
    doors.now = expires
    assert doors.both(token) == "exp_past"


def test_a_known_call_needs_the_key_of_its_token(parts: Parts) -> None:
    """Where the key that signed its token verifies nothing any more, neither does what is known of the call."""
    keys = Keys(parts)
    doors, token = Doors(parts, keys), parts.token()
    assert isinstance(doors.both(token), OnItsWay)
    keys.are_gone = True
    assert doors.both(token) == "kid_unknown"


def test_each_body_is_read(parts: Parts) -> None:
    """What is known of a call is nothing of its body: a model that is not allowed is refused behind one that is."""
    parts.apply(grant(models="[gpt-5-mini]"))
    doors, token = Doors(parts), parts.token()
    for _ in range(2):
        assert isinstance(doors.call(token, known=True, body=b'{"model": "gpt-5-mini"}'), OnItsWay)
        assert doors.call(token, known=True, body=b'{"model": "gpt-5"}') == "model_not_allowed"


def test_every_known_call_is_counted(parts: Parts) -> None:
    """Calls in the same words are as many calls."""
    doors, token = Doors(parts), parts.token()
    for _ in range(5):
        doors.call(token, known=True)
    assert parts.counted()["day"] == (5, 0)
