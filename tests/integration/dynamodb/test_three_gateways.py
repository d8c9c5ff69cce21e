"""Three gateways at once over one set of tables: limits are exact, and once a revocation is acknowledged nothing is admitted."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import pytest

from chalicelib.budget import HELD_SECONDS, BudgetLimit, BudgetUse
from chalicelib.errors import StateUnavailable
from chalicelib.policy.grants import Grant
from chalicelib.quota import Limit
from chalicelib.revocation import EVERYTHING, SCOPES
from chalicelib.usage import UsageQuery, window_start
from tests.contracts import samples
from tests.contracts.samples import ISSUER
from tests.contracts.verbs import Keys
from tests.gateway_stage import Gateway, GatewayStage, Provider, gateway, provider
from tests.integration import ministack
from tests.races.actor import Actor, idempotency_key
from tests.races.course import ROUNDS, Course
from tests.races.http_field import refusal_of
from tests.races.racer import Racer, Recorded, Told
from tests.races.summary import NUMBERS
from tests.running import wait_until

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.slow  # three gateways are started, and pressed on

GATEWAYS, CALLERS, THREADS = 3, 6, 24
SUBJECTS = tuple(f"build-{number}" for number in range(1, 3 + len(SCOPES)))
BODY = b'{"model": "gpt-5-mini", "messages": []}'
LIMITED = b'{"model": "gpt-5-mini", "messages": [], "max_tokens": 500}'


class Callers:
    """Keep-alive connections of threads to gateways. Use as a context, which closes them."""

    def __init__(self) -> None:
        self._kept, self._made = threading.local(), list[HTTPConnection]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        for one in self._made:
            one.close()

    def at(self, place: str) -> HTTPConnection:
        """Return this thread's connection to a place."""
        kept: dict[str, HTTPConnection] = self._kept.__dict__.setdefault("connections", {})
        if place not in kept:
            kept[place] = HTTPConnection(place, timeout=20)
            self._made.append(kept[place])
        return kept[place]


@dataclass
class Three:
    """stage: the tables. provider: where calls go. gateways: what they go through."""

    stage: GatewayStage
    provider: Provider
    gateways: list[Gateway]

    def put_in_force(self, *, calls: int, total: int | None = None) -> None:
        """Put one grant in force with these limits of a day."""
        made = _grant(calls)
        if total is not None:
            made = made._replace(total_limits=(Limit(total, "day"),))
        self.stage.put_in_force(made)

    def used(self, subjects: Iterable[str], later: int = 0) -> BudgetUse:
        """Return what these used of their budgets, all together, as it looks so many seconds later."""
        now = int(time.time())
        found = BudgetUse(0, 0)
        for subject in subjects:
            query = UsageQuery("day", window_start("day", now), principal=f"{ISSUER}|sub:{subject}", now=now + later)
            for use in self.stage.adapters.usage.uses(query).uses:
                one = use.budgets.get("usage", BudgetUse(0, 0))
                found = BudgetUse(found.used + one.used, found.reserved + one.reserved)
        return found

    def calls(self, subject: str) -> int:
        """Return how many calls of this one were admitted today."""
        uses = self.stage.adapters.usage.uses(UsageQuery("day", window_start("day", int(time.time())))).uses
        return sum(one.calls for one in uses if one.principal.endswith(f"sub:{subject}"))

    def call(self, token: str, callers: Callers, body: bytes = BODY) -> tuple[int, str]:
        """Make one call at any of them; return status and text."""
        connection = callers.at(urlsplit(random.choice(self.gateways).url).netloc)
        try:
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            connection.request("POST", "/openai/v1/chat/completions", body, headers)
            with connection.getresponse() as answer:
                return answer.status, answer.read().decode()
        except (OSError, HTTPException) as error:
            connection.close()  # it opens again by itself
            raise StateUnavailable from error

    def together(self, tokens: list[str], times: int) -> Counter[int]:
        """Make so many calls at once, each at any of them; return how often each status was answered."""
        barrier = threading.Barrier(THREADS)

        def run(share: int) -> list[int]:
            barrier.wait(30)
            return [self.call(random.choice(tokens), callers)[0] for _ in range(share)]

        with Callers() as callers, ThreadPoolExecutor(THREADS) as pool:
            return Counter(one for found in pool.map(run, [times // THREADS] * THREADS) for one in found)


def _grant(calls: int = 1_000_000) -> Grant:
    limit = (Limit(calls, "day"),)
    return samples.grant(calls=limit, issued=(Limit(1_000_000, "day"),))._replace(claims=((("sub",), SUBJECTS),))


@pytest.fixture(scope="module")
def three(endpoint: str, dynamodb: DynamoDBClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    directory = tmp_path_factory.mktemp("gateways")
    with contextlib.ExitStack() as stack:
        tables = stack.enter_context(ministack.fresh_tables(dynamodb))
        origin = stack.enter_context(provider())
        stage = GatewayStage(endpoint, tables.control.removesuffix("-control"), tables, Keys(directory))
        stage.fill(ministack.client("secretsmanager", endpoint), origin.origin)
        gateways = [stack.enter_context(gateway(stage, directory)) for _ in range(GATEWAYS)]
        yield Three(stage, origin, gateways)


def exact(said: Counter[int], limit: int) -> None:
    """The limit is never exceeded, and exactly met unless an answer of the tables was lost, which stays counted."""
    assert set(said) <= {200, 429, 503}
    assert limit - said[503] <= said[200] <= limit


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_calls_are_exact(three: Three, limit: int) -> None:
    """Three gateways together admit exactly the limit, each call once; and exactly the difference once it is raised."""
    subject = {1: "build-1", 7: "build-2", 100: "build-3"}[limit]
    three.put_in_force(calls=limit)
    tokens, before = [three.stage.token(subject)], len(three.provider.seen)
    said = three.together(tokens, limit + 5 * THREADS)
    exact(said, limit)
    assert len(three.provider.seen) - before == said[200]
    three.put_in_force(calls=limit + 9)
    exact(three.together(tokens, 5 * THREADS) + Counter({200: said[200], 503: said[503]}), limit + 9)


def test_a_total_is_exact(three: Three) -> None:
    """Two principals' calls at three gateways are together exactly the grant's total, and neither is beyond its own limit."""
    three.put_in_force(calls=20, total=31)
    tokens = [three.stage.token(one) for one in ("build-4", "build-5")]
    said = three.together(tokens, 8 * THREADS)
    exact(said, 31)


@pytest.mark.parametrize("shared", [False, True])
def test_a_budget_is_exact(three: Three, *, shared: bool) -> None:
    """Calls that run at once at three gateways reserve exactly what a budget has room for, and are settled from their answers."""
    subjects = ("build-7", "build-8") if shared else ("build-6",)
    worst = len(LIMITED) + 1_000 + 500
    limit = BudgetLimit("usage", 7 * worst + worst // 2, "day", shared)
    three.stage.put_in_force(_grant()._replace(budgets=(limit,)))
    tokens, before = [three.stage.token(one) for one in subjects], len(three.provider.seen)
    three.provider.may_end.clear()
    with Callers() as callers, ThreadPoolExecutor(THREADS) as pool:
        calls = [pool.submit(three.call, tokens[number % len(tokens)], callers, LIMITED) for number in range(THREADS)]
        wait_until(lambda: sum(one.done() for one in calls) + len(three.provider.seen) - before == THREADS, 60)
        three.provider.may_end.set()
        said = Counter(one.result()[0] for one in calls)
    exact(said, 7)
    wait_until(lambda: three.used(subjects) == BudgetUse(13 * said[200], 0), 20)


def test_one_that_is_killed_loses_no_count(three: Three, tmp_path: Path) -> None:
    """A gateway that is killed amid calls takes none of the limit back: the others admit what is left, and no more."""
    three.put_in_force(calls=60)
    token, before = three.stage.token("build-6"), len(three.provider.seen)
    with Callers() as callers, gateway(three.stage, tmp_path) as fourth:
        four = Three(three.stage, three.provider, [*three.gateways, fourth])
        stop = threading.Event()

        def press() -> None:
            while not stop.is_set():
                with contextlib.suppress(StateUnavailable):
                    if four.call(token, callers)[0] == 429:
                        return

        pressing = [threading.Thread(target=press) for _ in range(8)]
        for one in pressing:
            one.start()
        while len(three.provider.seen) - before < 20:
            time.sleep(0.001)
        fourth.process.kill()
        for one in pressing:
            one.join(60)
        stop.set()
        assert three.call(token, callers)[0] == 429
    assert len(three.provider.seen) - before <= 60


def test_one_that_is_killed_frees_nothing_that_it_had_reserved(three: Three, tmp_path: Path) -> None:
    """What calls of a killed gateway had reserved holds the others back, as reserved for an hour and as used from then on."""
    worst = len(LIMITED) + 1_000 + 500
    three.stage.put_in_force(_grant()._replace(budgets=(BudgetLimit("usage", 3 * worst, "day"),)))
    token, before = three.stage.token("build-5"), len(three.provider.seen)
    three.provider.may_end.clear()
    with Callers() as callers, ThreadPoolExecutor(2) as pool, gateway(three.stage, tmp_path) as fourth:
        alone = Three(three.stage, three.provider, [fourth])
        calls = [pool.submit(alone.call, token, callers, LIMITED) for _ in range(2)]
        wait_until(lambda: len(three.provider.seen) == before + 2, 20)
        fourth.process.kill()
        for one in calls:
            with contextlib.suppress(StateUnavailable):
                one.result(30)
        three.provider.may_end.set()
        assert three.used(["build-5"]) == BudgetUse(0, 2 * worst)
        assert [three.call(token, callers, LIMITED)[0] for _ in range(2)] == [200, 429]
    wait_until(lambda: three.used(["build-5"]) == BudgetUse(13, 2 * worst), 20)
    assert three.used(["build-5"], later=HELD_SECONDS) == BudgetUse(2 * worst + 13, 0)


def test_one_that_drains_loses_no_answer(three: Three, tmp_path: Path) -> None:
    """A gateway that is told to stop amid calls answers each that reached the provider, and each is counted once."""
    three.put_in_force(calls=1_000_000)
    token, before = three.stage.token("build-7"), len(three.provider.seen)
    calls_before = three.calls("build-7")
    said: list[int] = []
    with Callers() as callers, gateway(three.stage, tmp_path, "--drain-delay", "1", "--drain", "20") as fourth:
        four = Three(three.stage, three.provider, [*three.gateways, fourth])
        stop = threading.Event()

        def press() -> None:
            while not stop.is_set():
                with contextlib.suppress(StateUnavailable):  # refused, or closed before it was read
                    said.append(four.call(token, callers)[0])

        pressing = [threading.Thread(target=press) for _ in range(8)]
        for one in pressing:
            one.start()
        while len(three.provider.seen) - before < 40:
            time.sleep(0.001)
        fourth.process.terminate()
        assert fourth.process.wait(60) == 0
        stop.set()
        for one in pressing:
            one.join(60)
    answered = Counter(said)
    assert set(answered) <= {200, 503}
    assert len(three.provider.seen) - before == answered[200]
    counted = three.calls("build-7") - calls_before
    assert answered[200] <= counted <= answered[200] + answered[503]


# Revocations


class _Acts:
    """`tests.races.racer.Acts`: exchanges at the tables, calls at any of the gateways."""

    def __init__(self, three: Three, subject: str) -> None:
        self._three, self._subject = three, subject
        self._actor, self.callers = Actor.over(three.stage.adapters, three.stage.keys), Callers()

    def subject_token(self, subject: str, now: int) -> str:
        """See `Acts.subject_token`; it is this one's subject, whatever is asked for."""
        del subject
        return self._actor.subject_token(self._subject, now)

    def exchange(self, subject_token: str, now: int) -> str:
        """See `Acts.exchange`."""
        return self._actor.exchange(subject_token, now, idempotency_key=idempotency_key())

    def call(self, token: str, now: int) -> None:
        """See `Acts.call`."""
        del now
        status, text = self._three.call(token, self.callers)
        if status != 200:
            raise refusal_of(status, text)


class _Field:
    """`tests.races.course.Field`."""

    offset = 0
    callers = CALLERS

    def __init__(self, three: Three, subject: str) -> None:
        self.acts, self._control, self._subject = _Acts(three, subject), three.stage.adapters.control, subject
        self._counted = [0] * (2 * CALLERS + 2)
        self.racer = Racer(
            self.acts, self.acts, self.acts, callers=CALLERS, offset=0, tell=self._tell, hand_on=lambda _: None
        )

    def close(self) -> None:
        """End the threads."""
        self.racer.leave()

    def _tell(self, slot: int) -> None:
        self._counted[slot] += 1

    def targets(self) -> dict[str, str]:
        """See `Field.targets`."""
        principal = f"{ISSUER}|sub:{self._subject}"
        return {"everything": EVERYTHING.id, "issuer": ISSUER, "key": "openai", "grant": "ci", "principal": principal}

    def revoke(self, scope: str, target: str) -> str:
        """See `Field.revoke`."""
        asked = samples.revocation(scope, target, at=int(time.time()))
        return self._control.revoke(asked, samples.event("revocation.made", at=asked.at)).id

    def restore(self, revocation_id: str) -> None:
        """See `Field.restore`."""
        assert self._control.restore(revocation_id, "tester", samples.event("revocation.lifted", at=int(time.time())))

    def begin(self, first: Told) -> None:
        """See `Field.begin`."""
        self.racer.begin(first)

    def end(self) -> list[Recorded]:
        """See `Field.end`."""
        return [self.racer.end()]

    def progress(self) -> tuple[int, ...]:
        """See `Field.progress`."""
        return tuple(self._counted)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scope", SCOPES)
def test_nothing_revoked_is_admitted(three: Three, scope: str, record_property: Callable[[str, object], None]) -> None:
    """Once a revocation is acknowledged, no gateway admits what is revoked, and its earlier tokens never are again."""
    three.put_in_force(calls=1_000_000)
    field = _Field(three, SUBJECTS[2 + SCOPES.index(scope)])
    with field.acts.callers, contextlib.closing(field):
        tally = Course(field).run(scope, max(3, min(6, ROUNDS // 10)))
    record_property(NUMBERS, f"DynamoDB, 3 gateways: {tally.line()}")
    assert tally.wrongs() == {}
