"""`kill -9` at every step: what was under way is written whole or not at all, and the next start needs no hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.errors import Refusal
from chalicelib.exchange import exchange as exchange_verb
from chalicelib.issuers.aws import AwsIdentity
from chalicelib.principal import AWS
from chalicelib.quota import Limit
from local.sqlite.state_file import StateFile
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, grant, issuer, jti_of, put_in_force
from tests.races.actor import Actor, keys_in
from tests.races.deaths import Death, Deaths, copy_of, deaths, left_in, opened
from tests.races.dying import LastAct, Nursery, nursery
from tests.races.last_acts import Call, Exchange, ExchangeIam

pytestmark = pytest.mark.slow  # a process is born for each step at which it dies
KEY = "k" * 32
ROLE = AwsIdentity("aws", "123456789012", "arn:aws:iam::123456789012:role/app", "AROA1234567890123", "session")
_AWS_GRANT = grant("role", issuer=AWS)._replace(claims=((("aws",), (ROLE.arn,)),))
_ISSUING = ["before ledger.issue", "sql BEGIN IMMEDIATE", "sql COMMIT", "after ledger.issue"]


@pytest.fixture(scope="module")
def born() -> Iterator[Nursery]:
    """Where processes come from."""
    with nursery() as one:
        yield one


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state file with a policy and its keys, closed."""
    path = tmp_path_factory.mktemp("template") / "state.db"
    StateFile.create(path)
    with opened(path) as adapters:
        _prepare(adapters, path.parent)
    return path


def _prepare(adapters: Adapters, directory: Path) -> None:
    adapters.control.list_signing_keys((keys_in(directory).broker.kid(),))
    put_in_force(adapters.control, grant(calls=(Limit(2, "day"),)), _AWS_GRANT, issuers=(issuer(single_use=True),))


def _changed(template: Path, name: str, change: Callable[[Adapters], object]) -> Path:
    """Return another template, to which something has happened."""
    path = copy_of(template, template.parent / name)
    path = path.rename(template.parent / f"{name}.db")
    with opened(path) as adapters:
        change(adapters)
    return path


@pytest.fixture(scope="module", params=["without a key", "with a key", "of a role"])
def act(request: pytest.FixtureRequest, template: Path) -> Exchange | ExchangeIam:
    """What the processes do."""
    if request.param == "of a role":
        return ExchangeIam(ROLE, KEY)
    with opened(template) as adapters:
        subject_token = Actor.over(adapters, keys_in(template.parent)).subject_token("build-1", NOW)
    return Exchange(subject_token, KEY if request.param == "with a key" else "")


@pytest.fixture(scope="module")
def found(born: Nursery, act: LastAct, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Deaths:
    """What the processes have left."""
    return deaths(born, act, template, tmp_path_factory.mktemp("exchange") / "deaths")


class TestExchange:
    """An exchange with an Idempotency-Key, without one, and of an AWS role that is seen for the first time."""

    def test_the_steps_are_those_of_the_verb_its_ports_and_the_transaction(self, found: Deaths) -> None:
        steps = found.steps()
        inside = [name for name in steps if name in _ISSUING]
        assert inside[-4:] == _ISSUING, steps
        assert {"before ledger.find", "after signer.begin", "sql INSERT INTO audit"} <= set(steps)
        assert steps[-2:] == ["before the answer", "after the answer"]
        assert found.lived.answer.count(".") == 2

    def test_it_is_written_whole_or_not_at_all(self, found: Deaths) -> None:
        committed = [_issued(one) for one in found.every]
        assert committed == sorted(committed), "what was written stays"
        assert found.steps()[committed.index(1)] == "after ledger.issue"
        for one in found.every:
            left = left_in(one.path)
            assert left.integrity == "ok"
            number = left.events["token.issued"]
            assert (left.tokens, left.locks) == ((number,) * 3, number)
            assert left.pins in (0, number)

    def test_no_token_is_out_without_its_record(self, found: Deaths) -> None:
        for one in (*found.every, found.lived):
            assert [jti_of(one.answer)] == list(left_in(one.path).jtis) if one.answer else True
        assert [bool(one.answer) for one in found.every].count(True) == 1

    def test_the_next_exchange_needs_no_hand(self, found: Deaths, template: Path, tmp_path: Path) -> None:
        for one in found.every:
            path = copy_of(one.path, tmp_path)
            with opened(path) as adapters:
                actor = Actor.over(adapters, keys_in(template.parent))
                token = actor.exchange(actor.subject_token("build-2", NOW), NOW)
                actor.call(token, NOW)
            assert left_in(path).events["token.issued"] == _issued(one) + 1

    def test_a_retry_gets_the_same_token_if_there_was_one_and_else_its_first(
        self, act: Exchange | ExchangeIam, found: Deaths, template: Path, tmp_path: Path
    ) -> None:
        for one in found.every:
            path = copy_of(one.path, tmp_path)
            with opened(path) as adapters:
                said = [_repeated(act, adapters, template.parent) for _ in range(2)]
            before, jtis = left_in(one.path).jtis, left_in(path).jtis
            assert jtis == (before or jtis)
            assert len(jtis) == 1
            if act.idempotency_key:
                assert said == [jtis[0]] * 2
            else:
                assert said == ["replayed"] * 2 if before else [jtis[0], "replayed"]


def _issued(one: Death) -> int:
    return left_in(one.path).events["token.issued"]


def _repeated(act: Exchange | ExchangeIam, adapters: Adapters, directory: Path) -> str:
    """Return the token's id, or why there was none."""
    actor = Actor.over(adapters, keys_in(directory))
    try:
        if isinstance(act, Exchange):
            return jti_of(actor.exchange(act.subject_token, NOW, act.idempotency_key))
        request = replace(actor.request("", act.idempotency_key), grant="role")
        return jti_of(exchange_verb.exchange_iam(request, ROLE, actor.broker, NOW, samples.new_id).access_token)
    except Refusal as refusal:
        return refusal.reason


@pytest.fixture(scope="module", params=["admitted", "refused"])
def used(request: pytest.FixtureRequest, template: Path) -> tuple[Path, str, int]:
    """A template, a token, and how many calls it has made."""
    tokens: list[str] = []
    times = 2 if request.param == "refused" else 0

    def use(adapters: Adapters) -> None:
        actor = Actor.over(adapters, keys_in(template.parent))
        tokens.append(actor.exchange(actor.subject_token("build-1", NOW), NOW))
        for _ in range(times):
            actor.call(tokens[0], NOW)

    return _changed(template, f"used-{times}", use), tokens[0], times


class TestCall:
    """A call at the edge that is admitted, and one that is refused, under a limit of two."""

    def test_it_is_counted_whole_or_not_at_all_and_never_beyond_the_limit(
        self, born: Nursery, used: tuple[Path, str, int], tmp_path: Path
    ) -> None:
        path, token, times = used
        found = deaths(born, Call(token), path, tmp_path / "deaths")
        assert found.lived.answer == ("refused: quota_calls" if times else "admitted")
        counted = [(left.calls, left.refused_calls) for left in (left_in(one.path) for one in found.every)]
        once, before = (times + 1,) * 3, (times,) * 3
        # One beyond the limit takes no number, not even until it is known to be refused.
        after = (before, (1, 1, 1)) if times else (once, (0, 0, 0))
        assert [one for one, _ in itertools.groupby(counted)] == [(before, (0, 0, 0)), after]
        step = "after edge_state.give_back" if times else "after edge_state.read_and_count"
        assert found.steps()[counted.index(after)] == step
        for one in found.every:
            assert (one.answer in ("", found.lived.answer), left_in(one.path).integrity) == (True, "ok")

    def test_the_next_calls_need_no_hand_and_stay_within_the_limit(
        self, born: Nursery, used: tuple[Path, str, int], tmp_path: Path
    ) -> None:
        path, token, times = used
        for one in deaths(born, Call(token), path, tmp_path / "deaths").every:
            taken = left_in(one.path).calls[0]
            with opened(one.path) as adapters:
                actor = Actor.over(adapters, keys_in(path.parent))
                admitted = sum(actor.is_within_quota(token, NOW) for _ in range(3))
            assert admitted == max(0, 2 - taken)
            assert times + admitted <= 2
