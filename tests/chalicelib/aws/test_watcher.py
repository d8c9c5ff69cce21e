"""The watcher over real tables: what it prints rings the alarms of the template, each for what it is for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chalicelib import quota
from chalicelib.admin.revocation_probe import NAME
from chalicelib.admin.watching import Metrics, measured
from chalicelib.aws import cloudwatch, counter_items, watched, watcher
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.usage import DynamoUsage
from chalicelib.aws.watcher import WatcherConfig
from chalicelib.errors import NotConfigured, Refusal, StateUnavailable
from chalicelib.quota import WINDOWS, Limit
from tests.alarms import alarms, documents, rings
from tests.contracts import dynamodb_adapters, samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, issuance
from tests.contracts.tables_template import create_tables
from tests.contracts.verbs import Keys, Verbs

pytestmark = pytest.mark.slow  # tables of its own, and hundreds of calls
DAY, HOUR = WINDOWS["day"], WINDOWS["hour"]
FIRST = NOW - NOW % (40 * DAY) + 20 * DAY + 9 * HOUR
EVERY = {"Alarms": "all", "Topic": "arn:topic", "Prefix": "keybroker"}
CONFIG = WatcherConfig("us-east-1", "keybroker", "", "", "", minutes=5, principals=1000, key_days=90)


class Stage(NamedTuple):
    """Tables, what writes into them, and both verbs over them."""

    tables: Tables
    adapters: Adapters
    verbs: Verbs

    def issue(self, sub: str, at: int, grant: str = "ci", key: str = "openai") -> None:
        """Have a token issued."""
        event = samples.event(at=at, principal=sub, principal_name="a name", grant=grant, key=key)
        counted = tuple((one, (Limit(10_000, "day"),)) for one in quota.counters("tokens", grant, sub, at))
        self.adapters.ledger.issue(replace(issuance(), event=event, counters=counted), at)

    def call(self, sub: str, at: int, times: int = 1, refused: str = "", grant: str = "ci") -> None:
        """Make calls at the edge, admitted or refused."""
        counters = quota.counters("calls", grant, sub, at)
        self.adapters.edge_state.read_and_count(SIX, counters)
        if refused:
            self.adapters.edge_state.give_back(counters, refused)
        for item in (
            counter_items.items(counters) if times > 1 else ()
        ):  # the others at once, as the same update adds one
            adds = {f"r{name}#{refused}" if refused else name: times - 1 for name in item.names.values()}
            added: Any = counter_items.update(item, adds)
            self.tables.client.update_item(TableName=self.tables.counters, **added)

    def watch(self, now: int, config: WatcherConfig = CONFIG) -> str:
        """Run the watcher and return what it wrote."""
        written: list[str] = []
        watcher.run(config, self.tables, now, written.append)
        return "".join(written)


@contextmanager
def _tables(prefix: str = "kbwatch") -> Iterator[Tables]:
    tables = create_tables(dynamodb_adapters.locked_moto(), prefix)
    try:
        with dynamodb_adapters.patience():
            yield tables
    finally:
        for name in (tables.control, tables.counters, tables.ledger):
            tables.client.delete_table(TableName=name)


def _stage(tables: Tables, directory: Path) -> Stage:
    adapters = dynamodb_adapters.over(tables)
    return Stage(tables, adapters, Verbs(adapters, Keys(directory)))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with _tables() as tables:
        made = _stage(tables, tmp_path_factory.mktemp("keys"))
        samples.put_in_force(made.adapters.control, samples.grant())
        made.verbs.list_signing_keys()
        made.adapters.control.set_key("openai", samples.key_version("1"), samples.event("key.set"))
        yield made


def who(at: int) -> str:
    """Return a principal of this test's own days: the tables forget nobody here."""
    return f"ada-{at // (40 * DAY)}"


def first_use(stage: Stage, at: int) -> None:
    stage.issue(who(at), at)
    stage.call(who(at), at)


def seen_before(stage: Stage, at: int) -> None:
    first_use(stage, at - DAY)
    first_use(stage, at)


def refused(reason: str, times: int = 1) -> Callable[[Stage, int], None]:
    def happen(stage: Stage, at: int) -> None:
        seen_before(stage, at)
        stage.call(who(at), at, times, reason)

    return happen


def beyond_scope(times: int) -> Callable[[Stage, int], None]:
    """Calls through the edge that their token's scope does not open, of a principal that has called before."""

    def happen(stage: Stage, at: int) -> None:
        for now in (at - DAY, at):
            token = stage.verbs.exchange(stage.verbs.subject_token("build-1", now), "ci", now)
        assert isinstance(token, str)
        refusals = [stage.verbs.call(token, at, "/v1/files") for _ in range(times)]
        assert {one and one.reason for one in refusals} == {"out_of_scope"}

    return happen


def unusual(stage: Stage, at: int) -> None:
    seen_before(stage, at)
    stage.call(who(at), at, 120)


def usual(stage: Stage, at: int) -> None:
    unusual(stage, at - DAY)
    unusual(stage, at)


def busy_weeks_ago(calls: int) -> Callable[[Stage, int], None]:
    def happen(stage: Stage, at: int) -> None:
        stage.call(who(at), at - 14 * DAY - 5 * HOUR, calls)
        unusual(stage, at)

    return happen


class Case(NamedTuple):
    """happens: what does. rings: the alarms that then ring. periods: in how many periods, one after the other, it happens."""

    happens: Callable[[Stage, int], None]
    rings: set[str]
    periods: int = 3


CASES: Mapping[str, Case] = {
    "nobody calls": Case(lambda _stage, _at: None, set()),
    "a call as ever": Case(seen_before, set()),
    "a first call": Case(first_use, {"first-use"}, 1),
    "a revoked principal": Case(refused("revoked_principal"), {"calls-after-revocation"}, 1),
    "a revoked token": Case(refused("revoked_token"), {"calls-after-revocation"}),
    "a quota is used up": Case(refused("quota_calls"), {"quota-exhausted"}, 1),
    "a narrowed grant": Case(refused("stale_grant"), set()),
    "state is not read": Case(refused("state_unavailable"), {"state-errors"}),
    "state is not read, once": Case(refused("state_unavailable"), set(), 1),
    "refusals": Case(beyond_scope(30), {"refusals-jump", "principal-refused"}),
    "a few refusals": Case(beyond_scope(19), set()),
    "a busy hour": Case(unusual, {"principal-unusual"}, 1),
    "a busy hour as ever": Case(usual, set(), 1),
    "a busy day two weeks ago": Case(busy_weeks_ago(328), set(), 1),
    "a day two weeks ago": Case(busy_weeks_ago(320), {"principal-unusual"}, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_what_happens_rings_its_alarm(stage: Stage, name: str) -> None:
    """Each condition rings its own alarms, by their definition in the template, and no other."""
    case, day = CASES[name], FIRST + (list(CASES).index(name) + 1) * 40 * DAY
    ends = range(day + 300, day + 300 * case.periods + 1, 300)
    written = ""
    for at in ends:
        case.happens(stage, at - 300)
        written += stage.watch(at)
    found = {name for name, one in alarms("watcher", **EVERY).items() if rings(one, documents(written), ends[-1])}
    assert found - {"key-past-date", "watcher-silent"} == case.rings


def test_a_silent_watcher_rings() -> None:
    """A watcher that writes nothing for three periods is an alarm; one that writes is none."""
    silent = alarms("watcher", **EVERY)["watcher-silent"]
    beats = [watcher.embedded(one, "keybroker", NOW + at) for at in (0, 300, 600) for one in _beat()]
    assert not rings(silent, beats, NOW + 600)
    assert not rings(silent, beats[:-1], NOW + 600)
    assert rings(silent, beats, NOW + 600 + 3 * 300)
    assert rings(silent, [], NOW)


def _beat() -> list[Metrics]:
    return measured([], {}, {}, unread=0)


@pytest.mark.parametrize(("door", "name"), [("public", "broker-fails"), ("admin", "administration-fails")])
def test_a_door_that_fails_rings(door: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the doors themselves print of a 503, for state, audit or signature, rings; a refusal does not."""
    rung = {}
    for status, reason in ((503, "state_unavailable"), (400, "replayed")):
        line = {"door": door, "status": status, "request_id": "request-1", "reason": reason}
        cloudwatch._count(line, f"keybroker-{door}")
        [printed] = documents(capsys.readouterr().out)
        at = [{**printed, "_aws": {**printed["_aws"], "Timestamp": (NOW + late) * 1000}} for late in (0, 300, 600)]
        rung[status] = rings(alarms("watcher", **EVERY)[name], at, NOW + 600)
    assert rung == {503: True, 400: False}


def test_a_key_past_its_date_rings(stage: Stage) -> None:
    """A key whose value is older than its days is an alarm, from the first day after."""
    rung = {}
    for days in (90, 91):
        now = NOW + days * DAY + 300
        rung[days] = rings(alarms("watcher", **EVERY)["key-past-date"], documents(stage.watch(now)), now)
    assert rung == {90: False, 91: True}


def test_a_key_has_the_date_of_its_policy(tmp_path: Path) -> None:
    """Where the policy says how old a value may grow, that counts, and not the days of all keys."""
    with _tables("kbdates") as tables:
        stage = _stage(tables, tmp_path)
        made = replace(samples.policy(samples.grant()), rotate_after={"openai": 30 * DAY})
        stage.adapters.control.apply(made, "the text", 0, samples.event("policy.applied"))
        stage.adapters.control.set_key("openai", samples.key_version("1"), samples.event("key.set"))
        past = [documents(stage.watch(NOW + days * DAY + 300))[0]["KeysPastDate"] for days in (30, 31)]
    assert past == [0, 1]


def test_more_principals_than_are_read_ring(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not read is counted as such, and is an alarm: nobody hides behind a crowd without a word."""
    at = NOW + 1000 * DAY
    for sub in ("new-1", "new-2", "new-3"):
        stage.issue(sub, at)
        stage.call(sub, at)
    written = documents(stage.watch(at + 300, CONFIG._replace(principals=2)))
    assert (written[0]["Unread"], written[0]["Calls"], written[0]["FirstUses"]) == (1, 2, 2)
    monkeypatch.setattr(watched, "LOOKED_UP", 1)
    written = documents(stage.watch(at + 300))
    assert (written[0]["Unread"], written[0]["Calls"], written[0]["FirstUses"]) == (2, 3, 1)
    partial = alarms("watcher", **EVERY)["watcher-partial"]
    assert rings(
        partial,
        [{**written[0], "_aws": {**written[0]["_aws"], "Timestamp": (at + n) * 1000}} for n in (300, 600, 900)],
        at + 900,
    )


def test_a_key_of_another_grant_is_known(stage: Stage) -> None:
    """First use is of a key: one that a principal has used under another grant is not new to it; another key is."""
    at = NOW + 1100 * DAY
    stage.issue("ada", at - DAY, "docs", "openai")
    stage.issue("ada", at, "ci", "openai")
    stage.call("ada", at)
    assert documents(stage.watch(at + 300))[0]["FirstUses"] == 0
    stage.issue("ada", at + 300, "mail", "stripe")
    stage.call("ada", at + 300, grant="mail")
    stage.call("ada", at + 300)
    written = stage.watch(at + 600)
    assert documents(written)[0]["FirstUses"] == 1
    assert [one["key"] for one in json.loads(written.splitlines()[-1])["first_use"]] == ["stripe"]


def test_who_goes_on_calling_has_begun_all_the_same(stage: Stage) -> None:
    """A first use is seen though calls go on, and are refused, until it is looked at; later in the day it is none."""
    at = NOW + 1150 * DAY + 10 * HOUR
    stage.issue("eager", at)
    for late in (60, 299, 300, 330):
        stage.call("eager", at + late, 40)
    assert documents(stage.watch(at + 345))[0]["FirstUses"] == 1
    assert documents(stage.watch(at + 600))[0]["FirstUses"] == 0
    stage.call("eager", at + HOUR)
    assert documents(stage.watch(at + HOUR + 300))[0]["FirstUses"] == 0


def test_no_principal_is_a_dimension(stage: Stage) -> None:
    """Dimensions are names of the policy and fixed words, whatever callers are called; their names are in one line, escaped."""
    at, hostile = NOW + 1200 * DAY, 'https://ci.example.com|sub:eve\n{"_aws": {}}'
    stage.issue(hostile, at, key="made-up")
    stage.call(hostile, at)
    stage.call(hostile, at, 2, "revoked_principal")
    *metrics, line = stage.watch(at + 300).splitlines()
    assert not any("eve" in one for one in metrics)
    for one in map(json.loads, metrics):
        [[about]] = [one["_aws"]["CloudWatchMetrics"]]
        [dimensions] = about["Dimensions"]
        assert set(dimensions) <= {"service", "key", "reason"}
        assert one.get("key", "openai") in ("openai", "none")
        assert re.fullmatch("[a-z_]*", one.get("reason", ""))
        assert len(about["Metrics"]) <= 100
    assert "_aws" not in json.loads(line)
    assert json.loads(line)["after_revocation"][0]["principal"] == hostile


def test_each_minute_is_measured_once(stage: Stage) -> None:
    """A run is about the whole minutes before it, up to a multiple of its schedule; the next one is about the next."""
    at = NOW + 1300 * DAY
    stage.issue("ada", at)
    for minute in range(10):
        stage.call("ada", at + 60 * minute)
    assert [documents(stage.watch(at + late))[0]["Calls"] for late in (300, 330, 359, 600, 900)] == [5, 5, 5, 5, 0]
    one = CONFIG._replace(minutes=1)
    assert [documents(stage.watch(at + late, one))[0]["Calls"] for late in (60, 119, 600, 660)] == [1, 1, 1, 0]
    assert list(watcher.minutes(5, at + 301)) == [at, at + 60, at + 120, at + 180, at + 240]


def test_a_second_try_is_about_the_same_minutes() -> None:
    """Lambda tries again a minute later what failed, with the same event: no minutes are left out or counted twice."""
    assert watcher.scheduled({"time": "2026-11-29T00:05:00Z", "source": "aws.events"}, 7) == 1_795_910_700
    assert watcher.scheduled({}, 7) == 7


def test_midnight_hides_nobody(stage: Stage) -> None:
    """Who got a token before midnight and calls after it is measured under its key."""
    at = NOW + 1400 * DAY
    stage.issue("ada", at - 60)
    stage.call("ada", at)
    found = documents(stage.watch(at + 300))
    assert [one["Calls"] for one in found if one.get("key") == "openai" and "reason" not in one] == [1]
    assert found[0]["FirstUses"] == 0


def test_tables_that_cannot_be_read_leave_no_heartbeat(stage: Stage) -> None:
    """A run that reads nothing writes nothing: it is not taken for one that saw nothing."""
    written: list[str] = []
    missing = stage.tables._replace(ledger="not-there")
    with pytest.raises(StateUnavailable):
        watcher.run(CONFIG, missing, NOW, written.append)
    assert written == []


def test_it_writes_nothing_to_the_tables(stage: Stage) -> None:
    """It reads, and leaves every table as it was: no audit event of a key that was read either."""

    def count() -> list[int]:
        names = (stage.tables.control, stage.tables.counters, stage.tables.ledger)
        return [stage.tables.client.scan(TableName=name)["Count"] for name in names]

    before = count()
    stage.watch(NOW + 300)
    assert count() == before


def test_reads_are_bounded_by_those_who_call(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle principal costs one item; one that calls two more, and its past is looked up when it begins."""
    at = NOW + 1500 * DAY
    for sub in ("ada", "bob", "eve", "idle-1", "idle-2"):
        stage.issue(sub, at)
    for sub in ("ada", "bob", "eve"):
        stage.call(sub, at)
    asked: list[int] = []
    real = DynamoUsage.read
    monkeypatch.setattr(DynamoUsage, "read", lambda self, keys: real(self, _counted(asked, keys)))
    stage.watch(at + 300)
    assert [one for one in asked if one] == [5, 6]


def _counted(asked: list[int], keys: Any) -> list[Any]:  # noqa: ANN401  keys, in groups
    groups = list(keys)
    asked.append(sum(map(len, groups)))
    return groups


@pytest.mark.parametrize(
    "wrong",
    [{"KEYBROKER_MINUTES": "7"}, {"KEYBROKER_LEDGER": ""}, {"KEYBROKER_PRINCIPALS": "0"}, {"KEYBROKER_KEY_DAYS": "-1"}],
)
def test_a_configuration_that_is_not_whole_is_refused(wrong: dict[str, str]) -> None:
    names = ("DEPLOYMENT", "CONTROL", "COUNTERS", "LEDGER")
    right = {"AWS_REGION": "us-east-1", **{f"KEYBROKER_{name}": "x" for name in names}}
    right |= {"KEYBROKER_MINUTES": "5", "KEYBROKER_PRINCIPALS": "10", "KEYBROKER_KEY_DAYS": "0"}
    assert WatcherConfig.read(right).key_days == 0
    with pytest.raises(NotConfigured) as refused_:
        WatcherConfig.read(right | wrong)
    assert isinstance(refused_.value, Refusal)


def test_the_probe_s_own_refusals_ring_nothing(stage: Stage) -> None:
    """The probe calls on after its own revocations, which is no alarm; a call of its grant that was admitted is shown whole."""
    at = NOW + 1400 * DAY
    stage.issue(who(at), at, NAME, NAME)
    stage.call(who(at), at, 3, "revoked_token", NAME)
    (first, *_) = documents(stage.watch(at + 300))
    assert (first["CallsAfterRevocation"], first["Refusals"]) == (0, 0)
    stage.call(who(at), at, grant=NAME)
    (first, *_) = documents(stage.watch(at + 300))
    assert first["CallsAfterRevocation"] == 3
    assert first["Calls"] > 0
