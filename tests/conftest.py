"""What every test runs under: no network but this machine's own, and one running Keybroker for those that want it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.edge_function import Door
from tests.parts import Parts, parts_in
from tests.running import Running, start

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from chalicelib.aws.dynamodb import Tables

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it runs in the background like that, and so would every process that a test interrupts be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
pytest.register_assert_rewrite("tests.races")
from tests.races.summary import pytest_terminal_summary  # noqa: E402, F401  after the line above

# The same examples on every machine, however busy; `make test-slow` has time for ten times as many.
settings.register_profile("slow", derandomize=True, deadline=None, max_examples=500)
settings.register_profile("quick", settings.get_profile("slow"), max_examples=50)
settings.load_profile("quick")

_LOOPBACK = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "")  # noqa: S104  to be compared with, not bound


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Fail a test that tries to reach anything but this machine, but for `make test-aws`."""
    if "KEYBROKER_TEST_TABLES" in os.environ:
        yield
        return
    real_connect, real_lookup = socket.socket.connect, socket.getaddrinfo

    def connect(self: socket.socket, address: Any) -> None:  # noqa: ANN401  as socket has it
        if isinstance(address, tuple) and address[0] not in _LOOPBACK:
            raise AssertionError(f"a test tried to reach {address[0]}")
        real_connect(self, address)

    def lookup(host: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401  as socket has it
        if host is not None and host not in _LOOPBACK and host not in (b"localhost", b"127.0.0.1"):
            raise AssertionError(f"a test tried to look up {host}")
        return real_lookup(host, *arguments, **named)

    socket.socket.connect = connect  # type: ignore[method-assign, assignment]  # that is the guard
    socket.getaddrinfo = lookup
    yield
    socket.socket.connect = real_connect  # type: ignore[method-assign]  # and that takes it off again
    socket.getaddrinfo = real_lookup


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """The broker's and the edge's real parts over a directory of the test's own."""
    with parts_in(tmp_path) as made:
        yield made


@pytest.fixture
def door(parts: Parts) -> Door:
    """The edge function over those parts, called as CloudFront calls it."""
    return Door(parts)


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """Keybroker on this machine, shared by a whole test process: use a repository_id of your own in each test."""
    with start() as one:
        yield one


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The URL of a ministack, an AWS emulator, shared by a whole test process."""
    from tests.integration import ministack  # noqa: PLC0415  few tests want it, and it brings botocore

    with ministack.ministack() as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb(endpoint: str) -> DynamoDBClient:
    """A client of its DynamoDB."""
    from tests.integration import ministack  # noqa: PLC0415  as above

    made: DynamoDBClient = ministack.client("dynamodb", endpoint)
    return made


@pytest.fixture
def tables(dynamodb: DynamoDBClient) -> Iterator[Tables]:
    """Three empty tables there, a test's own."""
    from tests.integration import ministack  # noqa: PLC0415  as above

    with ministack.fresh_tables(dynamodb) as made:
        yield made
