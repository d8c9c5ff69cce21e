"""Looking up names: on threads, shared, remembered for a while, and never longer than the call that needs them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from chalicelib.aws import names
from chalicelib.aws.names import FRESH_SECONDS, Address, Names
from chalicelib.aws.polling import Polling

FOUND: Sequence[Address] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]
HOST = "dynamodb.example.com"


class Resolver:
    """Answers when it is let, and counts. fault: what it raises instead."""

    def __init__(self) -> None:
        self.asked, self.may_answer = 0, threading.Event()
        self.fault: Exception | None = None

    def __call__(self, _host: str, _port: int) -> Sequence[Address]:
        self.asked += 1
        self.may_answer.wait(10)
        if self.fault:
            raise self.fault
        return FOUND


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    one = Resolver()
    yield one
    one.may_answer.set()


def look_up(known: Names, times: int = 1, seconds: float = 10.0) -> Polling:
    polling = Polling()
    for number in range(times):
        polling.add(number, known.addresses(HOST, 443))
    polling.run(time.monotonic() + seconds, lambda: False)
    polling.close()
    return polling


def test_one_look_up_serves_all_that_wait(resolver: Resolver) -> None:
    """Three connections of one round trip look a name up once, and later ones do not for a while."""
    known = Names(resolver)
    threading.Timer(0.02, resolver.may_answer.set).start()
    assert look_up(known, 3).answers == dict.fromkeys(range(3), FOUND)
    assert (look_up(known).answers, resolver.asked) == ({0: FOUND}, 1)


def test_a_look_up_that_hangs_is_given_up(resolver: Resolver) -> None:
    """Nobody waits longer than its call; what is found later serves the next."""
    known = Names(resolver)
    given_up = look_up(known, seconds=0.02)
    assert (given_up.answers, given_up.raised) == ({}, [])
    resolver.may_answer.set()
    assert (look_up(known).answers, resolver.asked) == ({0: FOUND}, 1)


def test_an_old_address_is_looked_up_again(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older by either clock is looked up again, and used where that fails."""
    known = Names(resolver)
    resolver.may_answer.set()
    look_up(known)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + FRESH_SECONDS + 1)
    resolver.fault = socket.gaierror(-3, "Temporary failure in name resolution")
    assert (look_up(known).answers, resolver.asked) == ({0: FOUND}, 2)


def test_an_address_in_doubt_is_looked_up_again(resolver: Resolver) -> None:
    known = Names(resolver)
    known.doubt(HOST, 443)
    resolver.may_answer.set()
    look_up(known)
    known.doubt(HOST, 443)
    assert (look_up(known).answers, resolver.asked) == ({0: FOUND}, 2)


@pytest.mark.parametrize(
    "fault", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long"), ValueError("a null")]
)
def test_a_name_that_is_not_found_is_said(resolver: Resolver, fault: Exception) -> None:
    """What cannot be looked up is an OSError, and the next call tries again."""
    known = Names(resolver)
    resolver.fault = fault
    resolver.may_answer.set()
    (raised,) = look_up(known).raised
    assert isinstance(raised, OSError)
    resolver.fault = None
    assert look_up(known).answers == {0: FOUND}


def test_a_numeric_host_is_not_looked_up(resolver: Resolver) -> None:
    polling = Polling()
    polling.add(0, Names(resolver).addresses("192.0.2.1", 443))
    polling.run(time.monotonic() + 10, lambda: False)
    assert (polling.answers[0][0][4], resolver.asked) == (("192.0.2.1", 443), 0)


def test_the_system_is_asked() -> None:
    assert look_up_of("localhost") <= {"127.0.0.1", "::1"}


def look_up_of(host: str) -> set[str]:
    return {str(one[4][0]) for one in names.system_look_up(host, 443)}
