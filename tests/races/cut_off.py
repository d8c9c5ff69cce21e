"""DynamoDB whose connection is lost at a request: not sent, or carried out with its answer lost; then all fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ConnectionClosedError

from tests.faulty_dynamodb import Door, Turn

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SENDING, RECEIVING = "before-send.dynamodb", "response-received.dynamodb"


@dataclass(frozen=True)
class Cut:
    """Where the line is cut: at which request, counted from 0, and whether that one was still carried out."""

    at: int
    carried_out: bool


class Line:
    """Watches what a client sends. cut: None only counts."""

    def __init__(self, cut: Cut | None) -> None:
        self._cut = cut
        self._lock = threading.Lock()
        self.sent: list[str] = []
        self.is_cut = False

    def sending(self, **about: object) -> None:
        """Count a request, or lose it."""
        with self._lock:
            if self.is_cut:
                raise _lost()
            number = len(self.sent)
            self.sent.append(str(about["event_name"]).rpartition(".")[2])
            if self._cut and number == self._cut.at:
                self.is_cut = True
                if not self._cut.carried_out:
                    raise _lost()

    def receiving(self, **_: object) -> None:
        """Lose an answer, once the line is cut."""
        if self.is_cut:
            raise _lost()


def _lost() -> ConnectionClosedError:
    return ConnectionClosedError(endpoint_url="the line was cut")


class _DoorLine(Line):
    """The same at a door, through which the edge's own client goes: `tests.faulty_dynamodb.Fault`."""

    def __call__(self, turn: Turn) -> None:
        """Serve a request, or lose it, or its answer."""
        try:
            self.sending(event_name=turn.operation)
            answer = turn.served()
            self.receiving()
        except ConnectionClosedError:
            turn.hang_up(reset=True)
        else:
            turn.send(answer)


@contextmanager
def door_line(door: Door, cut: Cut | None = None) -> Iterator[Line]:
    """Let everything that comes to a door go over a line."""
    made = _DoorLine(cut)
    with door.failing(made):
        yield made


@contextmanager
def line(client: DynamoDBClient, cut: Cut | None = None) -> Iterator[Line]:
    """Let everything that a client sends go over a line."""
    made = Line(cut)
    client.meta.events.register_first(SENDING, made.sending)
    client.meta.events.register(RECEIVING, made.receiving)
    try:
        yield made
    finally:
        client.meta.events.unregister(SENDING, made.sending)
        client.meta.events.unregister(RECEIVING, made.receiving)
