"""A field of threads with keep-alive connections to a running Keybroker; an administrator revokes by the admin API."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from chalicelib.edge.errors import Revoked, Stale
from chalicelib.errors import Refusal, StateUnavailable
from chalicelib.exchange.errors import AccessRevoked
from tests.races.course import Course
from tests.races.racer import Racer, Recorded, Told
from tests.running import JWT, TOKEN_EXCHANGE, Running

CALLERS = 6
POLICY = """\
keys:
  openai: {provider: openai}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  ci:
    key: openai
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions"]
    quota: {tokens: 1000000/hour, calls: [1000000/minute]}
"""
_COMPLETION = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}
_REVOKED = re.compile(r"access is revoked \((\w+)\)")
_STALE = re.compile(r"issued before a revocation(?: or a narrower policy)? \((\w+)\)")


class _HttpActs:
    """`tests.races.racer.Acts` over HTTP. Each thread keeps connections of its own."""

    def __init__(self, running: Running, repository: str) -> None:
        self._running, self._repository = running, repository
        self._kept = threading.local()
        self._made: list[HTTPConnection] = []

    def close(self) -> None:
        """Close every connection."""
        for one in self._made:
            one.close()

    def subject_token(self, subject: str, now: int) -> str:
        """See `Acts.subject_token`. The practice issuer has the same clock as all others here, so `now` is left to it."""
        del now
        claims = {
            "aud": "keybroker",
            "sub": f"repo:octo-org/octo-repo:environment:{subject}",
            "repository": "octo-org/octo-repo",
            "repository_id": self._repository,
            "repository_owner_id": "9919",
            "event_name": "push",
        }
        _, answer = self._post(f"{self._running.issuer}/_mint", claims)
        return str(answer["token"])

    def exchange(self, subject_token: str, now: int) -> str:
        """See `Acts.exchange`."""
        del now
        body = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": subject_token,
            "subject_token_type": JWT,
            "audience": "openai",
        }
        status, answer = self._post(f"{self._running.broker}/token", body)
        if status != 200:
            raise refusal_of(status, str(answer.get("error_description")))
        return str(answer["access_token"])

    def call(self, token: str, now: int) -> None:
        """See `Acts.call`."""
        del now
        url = f"{self._running.edge}/openai/v1/chat/completions"
        status, answer = self._post(url, _COMPLETION, {"authorization": f"Bearer {token}"})
        if status != 200:
            raise refusal_of(status, str(answer["error"]["message"]))

    def _post(self, url: str, body: object, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        named = {"content-type": "application/json", **(headers or {})}
        parts = urlsplit(url)
        connection = self._connection(parts.netloc)
        try:
            connection.request("POST", parts.path, json.dumps(body), named)
            with connection.getresponse() as answer:
                return answer.status, json.loads(answer.read())
        except (OSError, HTTPException) as error:
            connection.close()  # it opens again by itself
            raise StateUnavailable from error

    def _connection(self, place: str) -> HTTPConnection:
        kept: dict[str, HTTPConnection] = self._kept.__dict__.setdefault("connections", {})
        if place not in kept:
            kept[place] = HTTPConnection(place, timeout=20)
            self._made.append(kept[place])
        return kept[place]


class _Unexpected(Refusal):
    """Any other answer; its reason holds it."""


def refusal_of(status: int, text: str) -> Refusal:
    """Return what was answered as the refusal that it was made from."""
    if status == 503:
        return StateUnavailable()
    revoked, stale = _REVOKED.search(text), _STALE.search(text)
    if revoked and status in (400, 403):
        return AccessRevoked(revoked[1]) if status == 400 else Revoked(revoked[1])
    if stale and status == 401:
        return Stale(stale[1])
    return _Unexpected(reason=f"{status}: {text}", status=status)


class _Threads:
    """`tests.races.course.Field`."""

    offset = 0
    callers = CALLERS

    def __init__(self, running: Running, repository: str) -> None:
        self.acts = _HttpActs(running, repository)
        self._running, self._repository = running, repository
        self._counted = [0] * (2 * CALLERS + 2)
        self.racer = Racer(
            self.acts,
            self.acts,
            self.acts,
            callers=CALLERS,
            offset=0,
            tell=self._tell,
            hand_on=lambda _: None,
        )

    def _tell(self, slot: int) -> None:
        self._counted[slot] += 1

    def targets(self) -> dict[str, str]:
        """See `Field.targets`."""
        return {
            "everything": "*",
            "issuer": self._running.issuer,
            "key": "openai",
            "grant": "ci",
            "principal": self._running.sub(self._repository),
        }

    def revoke(self, scope: str, target: str) -> str:
        """See `Field.revoke`."""
        unseen = {"unseen": True} if scope in ("principal", "token") else {}
        asked = {"scope": scope, "id": target, "reason": "a race", **unseen}
        answer = self._running.administer("POST", "/admin/revocations", asked)
        if answer.status == 503:
            raise StateUnavailable
        assert answer.status == 201, answer
        return str(answer.json["id"])

    def restore(self, revocation_id: str) -> None:
        """See `Field.restore`."""
        answer = self._running.administer("DELETE", f"/admin/revocations/{revocation_id}")
        if answer.status == 503:
            raise StateUnavailable
        assert answer.status == 200, answer

    def begin(self, first: Told) -> None:
        """See `Field.begin`."""
        self.racer.begin(first)

    def end(self) -> list[Recorded]:
        """See `Field.end`."""
        return [self.racer.end()]

    def progress(self) -> tuple[int, ...]:
        """See `Field.progress`."""
        return tuple(self._counted)


@contextmanager
def course_over_http(running: Running, repository: str) -> Iterator[Course]:
    """Race over what is running with POLICY, as this repository: it may be refused a thousand times a minute."""
    field = _Threads(running, repository)
    try:
        yield Course(field)
    finally:
        field.racer.leave()
        field.acts.close()
