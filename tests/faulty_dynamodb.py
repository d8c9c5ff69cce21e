"""DynamoDB behind a real socket that goes wrong as a test wants it: moto, one call at a time, with a door in front."""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSPreparedRequest
from moto.core.models import botocore_stubber
from moto.dynamodb.models import dynamodb_backends

from chalicelib.aws.dynamodb import Tables, make_client
from tests.contracts import dynamodb_adapters, tables_template

_NAMES = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered over HTTP. header: one more, a whole line."""

    status: int
    body: bytes
    header: str = ""

    def packed(self) -> bytes:
        """Return what goes over the wire."""
        head = f"HTTP/1.1 {self.status} As It Is\r\n{self.header}content-type: application/x-amz-json-1.0\r\n"
        return f"{head}content-length: {len(self.body)}\r\n\r\n".encode() + self.body


class Turn(BaseHTTPRequestHandler):
    """One request at the door, and what can be done with it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    operation: str
    body: dict[str, Any]

    def setup(self) -> None:
        """Register with the door, which cuts the remaining connections when it closes."""
        super().setup()
        self.server.turns.add(self)

    def finish(self) -> None:
        """Be forgotten."""
        self.server.turns.discard(self)
        super().finish()

    def do_POST(self) -> None:
        """Hand the request to the current fault."""
        self._raw = self.rfile.read(int(self.headers["content-length"]))
        self.operation, self.body = self.headers["x-amz-target"].rpartition(".")[2], json.loads(self._raw)
        self.server.door.arrived.append(self.operation)
        self.server.door.fault(self)

    def served(self) -> Answer:
        """Let moto do what is asked for, and return what it answers."""
        return _moto({name: value for name, value in self.headers.items() if name.lower() != "host"}, self._raw)

    def send(self, answer: Answer) -> None:
        """Answer."""
        self.wfile.write(answer.packed())

    def rest(self, seconds: float = 60.0) -> bool:
        """Do nothing for so long; False as soon as the caller has hung up or the door is closed."""
        return not select.select([self.connection, self.server.door.closing], [], [], seconds)[0]

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection; reset: so that the caller sees it break, not end."""
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], door: Door) -> None:
        self.door = door
        self.turns: set[Turn] = set()
        super().__init__(address, Turn)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Close without a farewell, so that what is to break does."""
        self.close_request(request)

    def handle_error(self, *_arguments: object) -> None:
        """Pass over a caller that hung up: those here do."""


Fault = Callable[[Turn], None]
"""What becomes of a request."""


def serves(turn: Turn) -> None:
    """Nothing is wrong."""
    turn.send(turn.served())


def hangs(turn: Turn) -> None:
    """No answer, ever."""
    turn.rest()
    turn.hang_up()


def loses_its_answer(turn: Turn) -> None:
    """What was asked for is done, and nobody hears of it."""
    turn.served()
    turn.hang_up(reset=True)


def answers_too_late(turn: Turn) -> None:
    """What was asked for is done at once, and answered when nobody waits any more."""
    answer = turn.served()
    if turn.rest():
        turn.send(answer)
    turn.hang_up()


def answers(status: int, body: str | bytes) -> Fault:
    """Answer every request with this."""
    return lambda turn: turn.send(Answer(status, body.encode() if isinstance(body, str) else body))


def error(code: str, status: int = 400, **more: object) -> Fault:
    """One of DynamoDB's own errors."""
    said = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "as the test wants it", **more}
    return answers(status, json.dumps(said))


def hot(code: str = "ProvisionedThroughputExceededException", why: str = "KeyRangeThroughputExceeded") -> Fault:
    """An item takes no more writes just then, in either of DynamoDB's spellings. why: another reason to throttle."""
    name = "throttlingReasons" if code == "ThrottlingException" else "ThrottlingReasons"
    said: Any = {name: [{"reason": f"TableWrite{why}", "resource": "arn:aws:dynamodb:us-east-1:1:table/t"}]}
    return error(code, **said)


def where(holds: Callable[[Turn], bool], fault: Fault) -> Fault:
    """Go wrong with some requests, and serve the others."""
    return lambda turn: (fault if holds(turn) else serves)(turn)


def transacts(turn: Turn) -> bool:
    """Whether a request is a transaction."""
    return turn.operation == "TransactWriteItems"


def from_the(first: int, fault: Fault, last: int = 10**9) -> Fault:
    """Go wrong from one request on, to another; the first is 1."""
    numbers = itertools.count(1)
    return where(lambda _turn: first <= next(numbers) <= last, fault)


def leaves_unread(unread: Callable[[str], bool]) -> Fault:
    """Serve all of a batch but the keys of some partitions."""

    def serve_some(turn: Turn) -> None:
        answer = json.loads(turn.served().body)
        for table, asked in turn.body["RequestItems"].items():
            left = [key for key in asked["Keys"] if unread(key["pk"]["S"])]
            answer["Responses"][table] = [one for one in answer["Responses"][table] if not unread(one["pk"]["S"])]
            if left:
                answer["UnprocessedKeys"][table] = {**asked, "Keys": left}
        turn.send(Answer(200, json.dumps(answer).encode()))

    return where(lambda turn: turn.operation == "BatchGetItem", serve_some)


class Door:
    """Where clients come in. arrived: the operations that were asked for, in order. fault: what is done with them.

    client: botocore's. edge_client: the edge's own.
    """

    def __init__(self, certificate: Path | None) -> None:
        self.arrived: list[str] = []
        self.fault: Fault = serves
        self.closing, self._bell = socket.socketpair()
        self._certificate = certificate
        self._server = self._opened(("127.0.0.1", 0))
        self._address = self._server.server_address
        place = f"https://localhost:{self._address[1]}" if certificate else f"http://127.0.0.1:{self._address[1]}"
        self.client, self.edge_client = make_client("us-east-1", place), dynamodb_adapters.edge_client_at(place)

    @contextlib.contextmanager
    def failing(self, fault: Fault) -> Iterator[list[str]]:
        """Do this with every request meanwhile; gives the operations that arrive. What is under way goes on after."""
        self.fault, self.arrived = fault, []
        try:
            yield self.arrived
        finally:
            self.fault = serves

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Listen no more meanwhile, and keep nobody connected; the port stays ours."""
        self._shut()
        with socket.socket() as placeholder:
            placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            placeholder.bind(self._address)
            yield
        self._server = self._opened(self._address)

    def close(self) -> None:
        """Close the door, and release the requests that rest in it."""
        self.edge_client.close()
        self._bell.close()
        self._shut()
        self.closing.close()

    def _opened(self, address: Any) -> _Server:  # noqa: ANN401  as socketserver has it
        server = _Server(address, self)
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def _shut(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for turn in tuple(self._server.turns):
            with contextlib.suppress(OSError):
                turn.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def door(certificate: Path | None = None) -> Iterator[Door]:
    """Open a door, with TLS if there is a certificate, and close it."""
    dynamodb_adapters.locked_moto()
    one = Door(certificate)
    try:
        yield one
    finally:
        one.close()


@contextlib.contextmanager
def tables_behind(door: Door) -> Iterator[Tables]:
    """Make the three tables, behind a door, and remove them."""
    behind = tables_template.create_tables(dynamodb_adapters.locked_moto(), f"faulty{next(_NAMES)}")
    try:
        yield behind._replace(client=door.client)
    finally:
        for name in (behind.control, behind.counters, behind.ledger):
            behind.client.delete_table(TableName=name)


def content(*tables: str) -> list[str]:
    """Return all that is in these tables; past the door and its faults, and past botocore, which is slow."""
    stored = dynamodb_backends["123456789012"]["us-east-1"].tables
    return [str(item.to_json()) for name in tables for item in stored[name].all_items()]


def _moto(headers: Any, body: bytes) -> Answer:  # noqa: ANN401  the stubs want a type that takes any mapping
    signed = next(value for name, value in headers.items() if name.lower() == "authorization")
    region, service = signed.split("/")[2:4]
    url = f"https://{service}.{region}.amazonaws.com/"
    answer: Any = botocore_stubber.process_request(AWSPreparedRequest("POST", url, headers, body, stream_output=False))
    status, _, found = answer
    return Answer(status, found.encode() if isinstance(found, str) else found)
