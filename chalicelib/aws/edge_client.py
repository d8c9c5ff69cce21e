"""The edge's own client of AWS: five requests over kept connections, without threads: `round_trip.AwsClient`.

botocore would be nine tenths of what the edge does (docs/performance.md).
"""

from __future__ import annotations

import collections
import json
import os
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

from chalicelib.aws import sigv4
from chalicelib.aws.connection import Answer, Connection, NoAnswer, Place, Waiting, close_quietly, connect
from chalicelib.aws.names import Names
from chalicelib.aws.polling import Polling
from chalicelib.aws.round_trip import CONNECTIONS, UNDO_SECONDS, Request, RequestFailed, Steps
from chalicelib.aws.sigv4 import Credentials, Scope

SKEWED = ("InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired")
"""AWS's codes for a signature that is wrong, perhaps only because of the clock."""
_ENCODER = json.JSONEncoder(separators=(",", ":"))
NO_ANSWER, NO_CONNECTION, NO_CREDENTIALS = "NoAnswer", "NoConnection", "NoCredentials"
"""Our own words: what came is no whole answer of AWS's; nobody answered; the function has no credentials."""
SKEW_SECONDS = 60
"""A clock that differs from AWS's by less is not what is wrong; AWS itself allows 300."""
SKEW_LIMIT = 86_400
"""Seconds: a clock that differs by more is not believed to."""

_T = TypeVar("_T")


class _Operation(NamedTuple):
    service: str
    target: str
    json: str
    reads: bool


_OPERATIONS: Mapping[str, _Operation] = {
    **{
        one: _Operation("dynamodb", f"DynamoDB_20120810.{one}", "1.0", reads=True)
        for one in ("BatchGetItem", "GetItem")
    },
    "UpdateItem": _Operation("dynamodb", "DynamoDB_20120810.UpdateItem", "1.0", reads=False),
    "GetSecretValue": _Operation("secretsmanager", "secretsmanager.GetSecretValue", "1.1", reads=True),
    "Decrypt": _Operation("kms", "TrentService.Decrypt", "1.1", reads=True),
}


class Endpoint(NamedTuple):
    """A service in a region, and where it is."""

    region: str
    place: Place


def from_environment() -> Credentials | None:
    """Return the credentials in Lambda's reserved variables as they are now, None if there are none."""
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    return Credentials(key_id, secret, os.environ.get("AWS_SESSION_TOKEN", "")) if key_id and secret else None


class EdgeClient:
    """`round_trip.AwsClient` for the five requests of the edge; any thread may use it.

    endpoints: by service. credentials: read for each request. clock: epoch seconds.
    A read is repeated once, on a fresh connection, if a kept one was dead. A count is not.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        credentials: Callable[[], Credentials | None] = from_environment,
        clock: Callable[[], float] = time.time,
        names: Names | None = None,
    ) -> None:
        self._endpoints, self._credentials, self._clock = endpoints, credentials, clock
        self._skew, self._names = 0.0, names or Names()
        self._sessions: dict[Place, ssl.SSLSession | None] = {}
        self._kept: dict[str, collections.deque[Connection]] = {name: collections.deque() for name in endpoints}
        self._free, self._freed = CONNECTIONS, threading.Condition()

    def run(self, calls: Sequence[Steps[Any]], seconds: float, undo: Mapping[int, Steps[Any]]) -> Sequence[Any]:
        """See `AwsClient.run`."""
        ends = time.monotonic() + seconds
        with self._freed:
            if not self._freed.wait_for(lambda: self._free >= len(calls), seconds):
                raise TimeoutError
            self._free -= len(calls)
        polling = Polling()
        try:
            return self._run(polling, calls, ends, undo)
        finally:
            polling.close()
            with self._freed:
                self._free += len(calls)
                self._freed.notify_all()

    def open(self, numbers: Mapping[str, int], beside: Steps[Any], seconds: float) -> None:
        """Connect so often to each service, and make a call beside. What fails, or takes longer, is left to who needs it."""
        if self._credentials() is None:
            return
        polling = Polling()
        polling.add(0, self._made(beside))
        for index, service in enumerate(collections.Counter(numbers).elements(), 1):
            polling.add(index, self._opened(service))
        polling.run(time.monotonic() + seconds, lambda: False)
        polling.close()

    def now(self) -> int:
        """Return the time in epoch seconds: AWS's, once it was learnt that ours is wrong."""
        return int(self._clock() + self._skew)

    def close(self) -> None:
        """Close the connections that are kept; those in use are closed by who uses them."""
        for kept in self._kept.values():
            while kept:
                kept.pop().close()

    def _run(
        self, polling: Polling, calls: Sequence[Steps[Any]], ends: float, undo: Mapping[int, Steps[Any]]
    ) -> list[Any]:
        for index, steps in enumerate(calls):
            polling.add(index, self._made(steps))
        polling.run(ends, lambda: not undo and bool(polling.raised))
        if not polling.raised and len(polling.answers) == len(calls):
            return [polling.answers[index] for index in range(len(calls))]
        fault = polling.raised[0] if polling.raised else TimeoutError()
        self._take_back(polling, undo, ends + UNDO_SECONDS)
        raise fault

    def _take_back(self, polling: Polling, undo: Mapping[int, Steps[Any]], ends: float) -> None:
        """Undo what was answered, and what is answered late, each once."""
        left = dict(undo)

        def is_over() -> bool:
            # SECURITY: pop: an undo made twice would give a number out twice (test_nothing_is_undone_twice).
            for index in [one for one in left if one in polling.answers]:
                polling.add(~index, self._made(left.pop(index)))
            return not any(one < 0 or one in left for one in polling.running)

        polling.run(ends, is_over)

    def _made(self, steps: Steps[_T]) -> Waiting[_T]:
        """Make a call's requests one after another; return what comes of it, raise what it raises."""
        try:
            request = next(steps)
            while True:
                try:
                    answer = yield from self._answer(request)
                except RequestFailed as failed:
                    request = steps.throw(failed)
                else:
                    request = steps.send(answer)
        except StopIteration as done:
            value: _T = done.value
            return value

    def _answer(self, request: Request) -> Waiting[Mapping[str, Any]]:
        operation = _OPERATIONS[request.operation]
        body = _ENCODER.encode(request.parameters).encode()
        may_repeat, fresh = operation.reads, False
        while True:
            connection = self._usable(operation.service) if not fresh else None
            was_kept = connection is not None
            try:
                answer = yield from self._exchange(operation, body, connection)
            except (OSError, NoAnswer) as error:
                # SECURITY: only a read is sent again: a count may have been made (test_a_count_is_sent_once).
                if not (may_repeat and was_kept):
                    raise RequestFailed(NO_ANSWER if isinstance(error, NoAnswer) else NO_CONNECTION) from error
                may_repeat, fresh = False, True
                continue
            code = _code(answer)
            if code in SKEWED:
                self._learn(answer)
            return _content(answer, code)

    def _exchange(self, operation: _Operation, body: bytes, connection: Connection | None) -> Waiting[Answer]:
        kept = False
        try:
            request, is_fresh = self._packed(operation, body), connection is None
            if connection is None:
                connection = yield from self._connected(operation.service)
            answer, kept = yield from connection.exchange(request)
            place = self._endpoints[operation.service].place
            if is_fresh or place not in self._sessions:
                self._sessions[place] = connection.session
            return answer
        finally:
            # What is given up amid an answer is closed: the next request would read the rest of it.
            if kept and connection is not None:
                self._kept[operation.service].append(connection)
            else:
                close_quietly(connection)

    def _connected(self, service: str) -> Waiting[Connection]:
        place = self._endpoints[service].place
        return connect(place, self._names, self._sessions.get(place))

    def _opened(self, service: str) -> Waiting[None]:
        self._kept[service].append((yield from self._connected(service)))

    def _usable(self, service: str) -> Connection | None:
        kept = self._kept[service]
        while True:
            try:
                connection = kept.pop()
            except IndexError:
                return None
            if connection.is_usable():
                return connection
            connection.close()

    def _packed(self, operation: _Operation, body: bytes) -> bytes:
        """Return a signed request; raises RequestFailed if there are no credentials."""
        credentials = self._credentials()
        if credentials is None:
            raise RequestFailed(NO_CREDENTIALS)
        endpoint = self._endpoints[operation.service]
        place = endpoint.place
        usual = 443 if place.tls else 80
        headers = {
            "host": place.host if place.port == usual else f"{place.host}:{place.port}",
            "content-type": f"application/x-amz-json-{operation.json}",
            "x-amz-target": operation.target,
        }
        scope, now = Scope(endpoint.region, operation.service), self._clock() + self._skew
        every = sigv4.signed(headers, body, credentials, scope, now)
        every |= {"content-length": str(len(body)), "accept-encoding": "identity", "user-agent": "keybroker"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in every.items())
        return f"POST / HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body

    def _learn(self, answer: Answer) -> None:
        """Take over AWS's clock if ours was wrong."""
        # SECURITY: what was refused for it is not repeated: who asked has judged by the wrong time as well
        # (test_a_wrong_clock_admits_nothing).
        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (ValueError, OverflowError):
            return
        skew = theirs - self._clock()
        # SECURITY: no clock is a day off, and a date that says so would have every request of this instance refused
        # (test_an_impossible_date_is_not_learnt).
        if abs(skew - self._skew) > SKEW_SECONDS and abs(skew) <= SKEW_LIMIT:
            self._skew = skew


def _code(answer: Answer) -> str:
    """Return AWS's word for why it refused, "" if it did not, or said none; nothing else of what it says."""
    said = _said(answer)
    code = str(said.get("__type", "")).rpartition("#")[2] if isinstance(said, dict) else ""
    return code if code.isascii() and code.isalnum() and len(code) <= 64 else ""


def _said(answer: Answer) -> object:
    """Return what an error holds; None for a good answer, and for what is no JSON."""
    try:
        return None if answer.status == 200 else json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _content(answer: Answer, code: str) -> Mapping[str, Any]:
    """Return what a good answer holds; raises RequestFailed for any other."""
    # SECURITY: an answer that is cut short or changed must not read as an empty one: what is blocked would not be
    # (test_a_refusing_store_is_refused).
    checksum = answer.headers.get("x-amz-crc32")
    if answer.status != 200 or (checksum and checksum != str(zlib.crc32(answer.body))):
        raise RequestFailed(code or NO_ANSWER, _said(answer))
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise RequestFailed(NO_ANSWER) from error
    if not isinstance(found, dict):
        raise RequestFailed(NO_ANSWER)
    return found
