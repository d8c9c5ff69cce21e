"""What must not grow with the policy: among ten thousand grants an exchange does what it does with one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from chalicelib.audit import Event, IssuedCount, Page, Query
from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import ExchangeState, Issuance, Ledger, StateQuery
from chalicelib.policy import compile as policy
from chalicelib.policy import grants, lint, plan, yaml_parser
from chalicelib.policy.compile import Policy
from chalicelib.revocation import EVERYTHING
from tests.bench.large_policy import CROWD, large_policy
from tests.parts import DIALECT, NOW, Parts, claims_of, mint, parts_in

pytestmark = pytest.mark.slow  # ten thousand grants take some seconds to put in force
ISSUERS = 200
GRANTS = 10_000
LARGE = large_policy(GRANTS, issuers=ISSUERS, crowd=grants.CANDIDATES + 1)
_LITERAL = re.compile("'[^']*'|[0-9]+")
SECONDS = 60
"""A bound on what is done once for each change of a policy, so wide that only a square of the size is beyond it."""


def apply(parts: Parts, text: str) -> Policy:
    """Put a policy in force as an administrator does: read it, check it, see what it changes, write it."""
    parsed = policy.parse(text, rules=DIALECT)
    assert lint.lint(parsed, DIALECT.presets) == ()
    assert len(plan.plan(None, parsed)) == len(parsed.grants) + len(parsed.issuers) + len(parsed.keys)
    parts.control.apply(parsed, text, parts.control.current().version, parts.event())
    return parsed


@dataclass(frozen=True)
class Large:
    """Ten thousand grants in force, and the seconds that it took to bring them there."""

    parts: Parts
    policy: Policy
    seconds: float


@pytest.fixture(scope="module")
def put_in_force(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    with parts_in(tmp_path_factory.mktemp("large")) as parts:
        started = time.monotonic()
        parsed = apply(parts, LARGE)
        yield Large(parts, parsed, time.monotonic() - started)


@pytest.fixture
def large(put_in_force: Large) -> Parts:
    return put_in_force.parts


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as parts:
        apply(parts, large_policy(1))
        yield parts


@dataclass
class Work:
    """What SQLite did. rows: fetched by us. steps: instructions of its virtual machine, so a row that it only looked at counts."""

    statements: list[str] = field(default_factory=list)
    rows: int = 0
    steps: int = 0

    def same(self, other: Work) -> bool:
        """Whether two did the same, but for the few steps that depend on where in a page a row lies."""
        near = abs(self.steps - other.steps) <= 10
        return bool(self.rows) and near and (self.statements, self.rows) == (other.statements, other.rows)


def work_of(parts: Parts, do: Callable[[], object]) -> Work:
    """Do it once to warm up, and once more under the eyes of SQLite."""
    do()
    connection, work = parts.state.connection(), Work()

    def row(_cursor: object, values: tuple[object, ...]) -> tuple[object, ...]:
        work.rows += 1
        return values

    def step() -> int:
        work.steps += 1
        return 0

    connection.set_trace_callback(lambda text: work.statements.append(_LITERAL.sub("?", text)))
    connection.set_progress_handler(step, 1)
    connection.row_factory = row
    try:
        do()
    finally:
        connection.set_trace_callback(None)
        connection.set_progress_handler(None, 1)
        connection.row_factory = None
    return work


class WatchedLedger:
    """A ledger that notes which of its methods are called."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.calls: list[str] = []

    def find(self, query: StateQuery) -> ExchangeState:
        self.calls.append("find")
        return self._ledger.find(query)

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        self.calls.append("issue")
        return self._ledger.issue(issuance, now)

    def record(self, event: Event) -> None:
        self.calls.append("record")
        self._ledger.record(event)

    def page(self, query: Query) -> Page:
        self.calls.append("page")
        return self._ledger.page(query)

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        return self._ledger.count_issued(since, until, at_most)


# The policy


def test_a_policy_of_ten_thousand_grants_fits_into_one_file() -> None:
    assert len(LARGE) < yaml_parser.SIZE_LIMIT


def test_ten_thousand_grants_of_two_hundred_issuers_are_put_in_force(put_in_force: Large) -> None:
    assert (len(put_in_force.policy.grants), len(put_in_force.policy.issuers)) == (GRANTS, ISSUERS)
    assert put_in_force.parts.control.current().text == LARGE
    with put_in_force.parts.state.reading() as connection:
        counted = "SELECT COUNT(*), COUNT(DISTINCT issuer) FROM things WHERE scope = 'grant' AND config IS NOT NULL"
        assert connection.execute(counted).fetchone() == (GRANTS, ISSUERS)


def test_to_put_ten_thousand_grants_in_force_ends_in_bounded_time(put_in_force: Large) -> None:
    assert put_in_force.seconds < SECONDS


def test_the_types_of_the_file_are_looked_at_once_and_not_for_each_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[type] = []
    fields = msgspec.structs.fields

    def noted(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
        looked_at.append(kind)
        return fields(kind)

    monkeypatch.setattr(msgspec.structs, "fields", noted)
    policy.parse(large_policy(20, issuers=20), rules=DIALECT)
    assert sorted(map(str, looked_at)) == sorted(map(str, set(looked_at)))


# The exchange


@pytest.mark.parametrize("named", ["one", None])
def test_an_exchange_does_the_same_with_ten_thousand_grants_as_with_one(
    small: Parts, large: Parts, named: str | None
) -> None:
    with_one = work_of(small, lambda: small.exchange(grant=named))
    with_many = work_of(large, lambda: large.exchange(grant=named))
    assert with_many.same(with_one), (with_many, with_one)


def test_a_call_does_the_same_with_ten_thousand_grants_as_with_one(small: Parts, large: Parts) -> None:
    of_one, of_many = small.token(), large.token()
    with_one = work_of(small, lambda: small.admit(of_one))
    with_many = work_of(large, lambda: large.admit(of_many))
    assert with_many.same(with_one), (with_many, with_one)


def test_an_exchange_calls_the_ledger_twice(large: Parts) -> None:
    watched = WatchedLedger(large.ledger)
    large.exchange(ledger=watched)
    assert watched.calls == ["find", "issue"]


def test_with_more_candidates_than_are_tried_the_grant_has_to_be_named(large: Parts) -> None:
    watched = WatchedLedger(large.ledger)
    with pytest.raises(Refusal) as caught:
        large.exchange(audience=CROWD, ledger=watched)
    assert (caught.value.reason, caught.value.error, caught.value.status) == ("name_the_grant", "invalid_request", 400)
    assert watched.calls == ["find", "record"]


def test_a_named_grant_is_found_in_any_crowd(large: Parts) -> None:
    issued = large.exchange(mint(), audience=CROWD, grant="crowd-34")
    assert claims_of(issued.access_token)["grant"] == "crowd-34"


def test_as_many_candidates_as_are_tried_need_no_name(tmp_path: Path) -> None:
    with parts_in(tmp_path) as parts:
        apply(parts, large_policy(grants.CANDIDATES + 1, crowd=grants.CANDIDATES))
        issued = parts.exchange(audience=CROWD)
    assert claims_of(issued.access_token)["grant"] == "crowd-34"


def test_only_the_grants_of_the_issuer_and_key_are_read(large: Parts) -> None:
    found = large.ledger.find(StateQuery((EVERYTHING,), "https://issuer-7.example", "openai", None, NOW))
    assert found.grants is not None
    assert {grant.issuer for grant, _ in found.grants} == {"https://issuer-7.example"}
