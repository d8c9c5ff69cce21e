from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chalicelib.admin import impact
from chalicelib.audit import Query
from chalicelib.aws import audit as dynamodb_audit
from chalicelib.aws import counter_items, round_trip, slice_items, watcher
from chalicelib.aws.answer_usage import DynamoAnswerUsage
from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.budgets import DynamoBudgets
from chalicelib.aws.items import Item
from chalicelib.aws.refused_calls import DynamoRefusedCalls
from chalicelib.aws.response_times import DynamoResponseTimes
from chalicelib.aws.watcher import WatcherConfig
from chalicelib.budget import BudgetLimit
from chalicelib.edge.lots import Lot
from chalicelib.edge.refused_calls import RefusedCall
from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import StateQuery
from chalicelib.quota import counters
from chalicelib.revocation import EVERYTHING, RevocationTarget
from chalicelib.usage import UsageQuery
from tests.contracts import dynamodb_adapters, tables_template
from tests.contracts.samples import one_answer
from tests.deployment import CLAIMS, GITHUB, NOW, POLICY, ROLE, SUB, Deployment
from tests.dynamodb_units import WRU, index_entry, metered, size_of
from tests.gateway_items import (
    DAY,
    HOUR,
    answered,
    answers_of_hour,
    budget_sizes,
    item_of,
    list_of_models,
    read_usage_with_answers,
    reserved,
    subject,
)

pytestmark = pytest.mark.slow  # moto copies a whole table for each transaction on it

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "data-model.md"
MONTH = 1_793_491_200
"""1 November 2026."""
EVENTS, USES = 200, 50
"""What administrators can read here: events of this month, and principals with their calls."""
REASONS = ("quota_calls", "address_refused", "revoked_principal", "stale_principal")
"""Why a call may be refused, again and again."""

Operations = Mapping[str, Callable[[], object]]
Rows = Mapping[str, list[str]]
"""A table: for the first cell of each row, the others."""


@pytest.fixture
def d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    # What is counted here does not depend on how long moto takes.
    monkeypatch.setattr(round_trip, "ROUND_TRIP_SECONDS", 60.0)
    monkeypatch.setattr(dynamodb_audit, "PAGE_SECONDS", 60.0)
    tables = tables_template.create_tables(dynamodb_adapters.locked_moto(), "kb-data-model")
    try:
        yield Deployment(tables, tmp_path)
    finally:
        for name in (tables.control, tables.counters, tables.ledger):
            tables.client.delete_table(TableName=name)


def documented(heading: str) -> Rows:
    """Return the table below a heading of the document."""
    below = re.split(rf"^#+ {re.escape(heading)}$", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)[1]
    lines = [line for line in re.split("^#", below, flags=re.MULTILINE)[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {first: rest for first, *rest in rows}


def compare(found: Rows, said: Rows) -> None:
    """Fail unless both are the same, and show the table as it should be."""
    assert found == said, "\n".join(f"| {name} | {' | '.join(cells)} |" for name, cells in found.items())


def check(d: Deployment, heading: str, operations: Operations) -> None:
    """Run each operation, count its DynamoDB requests, and compare them with a table of the page, except its round trips."""
    found = {}
    for name, do in operations.items():
        with metered(d.tables.client) as bill:
            did = do()
        assert isinstance(did, Refusal) == name.startswith("refused"), (name, did)
        found[name] = [bill.text(), f"{bill.reads():g}", f"{bill.writes()}", f"{bill.dollars()}"]
    compare(found, {name: [requests, *units] for name, (requests, _round_trips, *units) in documented(heading).items()})


def test_call_costs(d: Deployment) -> None:
    """Calls cost what the page says."""
    own, of_total, used_up = d.token(), d.token("anthropic"), d.token(repository_id="456781")
    day = counter_items.add(counter_items.items(counters("calls", "app-ci", subject(781), NOW))[1])
    write(d, d.tables.counters, [{**item_of(day), "d": {"N": "10000"}}])
    answers = DynamoAnswerUsage(BotocoreClient(d.tables.client), d.tables.counters)
    budgets = DynamoBudgets(BotocoreClient(d.tables.client), d.tables.counters)
    times = DynamoResponseTimes(BotocoreClient(d.tables.client), d.tables.counters)
    refused = DynamoRefusedCalls(BotocoreClient(d.tables.client), d.tables.counters)
    limits, took = (BudgetLimit("usage", 20_000, "day"),), {"usage": 900}
    operations: Operations = {
        "admission": partial(d.call, own),
        "admission, grant with a `total`": partial(d.call, of_total, "anthropic"),
        "the same, token issued before it had one": partial(d.call, d.without_total(of_total), "anthropic"),
        "refused admission": partial(d.call, own, ip="192.0.2.1"),
        "refused admission, grant with a `total`": partial(d.call, of_total, "anthropic", ip="192.0.2.1"),
        "refused by one of several limits": partial(d.call, used_up),
        "refused by the token's own scope": partial(d.call, own, path="/v1/files"),
        "refused before its token is verified": partial(d.call, own + "A"),
        "what a call may take is reserved, at a gateway": partial(budgets.reserve, reserved(1), limits, NOW),
        "reserved, grant with a `total` of that": partial(budgets.reserve, reserved(2, shared=True), limits, NOW),
        "there is no room for it in the day": partial(budgets.reserve, reserved(3), limits, NOW),
        "what it took is settled": partial(budgets.settle, reserved(1), took),
        "settled, grant with a `total` of that": partial(budgets.settle, reserved(2, shared=True), took),
        "the same, of a gateway's first answer of that model in a day": partial(answers.add, [answered()]),
        "how long answers took, of a worker in ten seconds, at a gateway": partial(
            times.add, one_answer(NOW, 0.3, failed=False)
        ),
        "a refused call is kept by a gateway, at most 16 of a worker in five seconds": partial(
            refused.keep, [RefusedCall(NOW, "5f2a", "exp_past", 401)]
        ),
        "what a model's answers took, in five seconds, at a gateway": partial(answers.add, [answered()]),
    }
    check(d, "Calls", operations)


def test_token_costs(d: Deployment) -> None:
    """Exchanges cost what the page says."""
    once, twice, spent = d.subject_token(), d.subject_token(), d.subject_token(repository_id="456781")
    retried, named = partial(d.exchange, once, idempotency_key="k" * 32), partial(d.exchange, grant="app-ci")
    hour, day = map(counter_items.add, counter_items.items(counters("tokens", "app-ci", subject(781), NOW)))
    retried()
    d.exchange(twice)
    d.exchange(d.subject_token(ref="refs/heads/other"))
    write(d, d.tables.ledger, [{**item_of(hour), "h": {"N": "30"}}, item_of(day)])
    operations: Operations = {
        "exchange, grant named": named,
        "exchange, grant not named": d.exchange,
        "exchange, grant named, the day's first": partial(named, d.subject_token(repository_id="456780")),
        "retry with `Idempotency-Key`, not named": retried,
        "exchange by IAM, named, first use": d.exchange_iam,
        "exchange by IAM, named": d.exchange_iam,
        "refused, no grant admits, not named": partial(d.exchange, d.subject_token(ref="refs/heads/other")),
        "refused, quota used up, named": partial(named, spent),
        "refused, replayed, named": partial(named, twice),
        "refused before verification, named": partial(named, twice + "A"),
        "`GET /healthz`": partial(d.ledger.find, StateQuery((EVERYTHING,), "", "", None, NOW)),
    }
    check(d, "Tokens", operations)


@pytest.mark.slow
def test_revocation_costs(d: Deployment) -> None:
    """Revoking and restoring cost what the page says."""
    d.token("anthropic", repository_id="456780")
    targets = {"everything": "*", "issuer": GITHUB, "key": "openai", "grant": "app-ci", "principal": SUB, "token": "t"}
    made = {scope: d.revoke(scope, target) for scope, target in targets.items()}
    look = partial(impact.estimate, RevocationTarget("key", "anthropic"), d.revocations, d.ledger, d.usage, NOW)
    operations: Operations = {
        **{f"revoking, {scope}": partial(d.revoke, scope, target) for scope, target in targets.items()},
        "restoring, everything, an issuer or a key": partial(d.restore, made["everything"]),
        "restoring, a grant": partial(d.restore, made["grant"]),
        "restoring, a principal or a token": partial(d.restore, made["principal"]),
        "list 10 revocations": partial(d.revocations.revocations, "", "", 50),
        "dry run, 1 live token": look,
    }
    check(d, "Revoking", operations)


def test_policy_and_key_costs(d: Deployment) -> None:
    """Changing policies and keys costs what the page says."""
    other_grant = POLICY.replace("30/hour", "31/hour")
    other_key = other_grant.replace("{provider: anthropic}", "{provider: generic}")
    operations: Operations = {
        "apply a policy of 7 entries, unchanged": partial(d.apply, POLICY),
        "the same, 1 grant changed": partial(d.apply, other_grant),
        "the same, 1 key changed": partial(d.apply, other_key),
        "read the policy": d.policies.current,
        "set a key": partial(d.set_key, "openai"),
        "list 2 keys": partial(d.control.keys, d.event("keys.read")),
        "list signing keys as live": d.list_signing_keys,
        "publish a signing key": d.publish_signing_key,
        "look up an unknown signing key": d.find_signing_key,
        "re-pin a principal": partial(d.control.pin, ROLE, "AROAEXAMPLEEXAMPLEEX2", d.event("principal.pinned")),
    }
    check(d, "The policy and the keys", operations)


@pytest.mark.slow
def test_reading_costs(d: Deployment) -> None:
    """Reading the audit and usage costs what the page says."""
    fill(d)
    operations: Operations = {
        "50 events of this month's 200": partial(d.ledger.page, Query(since=MONTH)),
        "the same, filtered": partial(d.ledger.page, Query({"request_id": "none"}, since=MONTH)),
        "the same, and in the month before, which is empty": partial(
            d.ledger.page, Query({"request_id": "none"}, since=MONTH - 1)
        ),
        "usage of 50 in an hour": partial(d.usage.uses, UsageQuery("hour", HOUR)),
        "usage of 50 in a day": partial(d.usage.uses, UsageQuery("day", DAY)),
        "usage of one principal in an hour": partial(d.usage.uses, UsageQuery("hour", HOUR, principal=subject(0))),
        "the same, whose answers a gateway read": partial(read_usage_with_answers, d),
        "a run of the watcher: 50 call, each for the first time": partial(watch, d, NOW),
        "the same, an hour in which nobody calls": partial(watch, d, NOW + 3600),
    }
    check(d, "Reading", operations)


def watch(d: Deployment, at: int) -> None:
    """Run the watcher over the five minutes of a time."""
    written: list[str] = []
    names = (d.tables.control, d.tables.counters, d.tables.ledger)
    watcher.run(WatcherConfig("", "keybroker", *names, 5, 1000, 90), d.tables, at - at % 300 + 300, written.append)
    assert f'"FirstUses": {USES if at == NOW else 0}' in written[0]


def fill(d: Deployment) -> None:
    """Write what administrators read, as the adapters would, in batches."""
    event = d.event("token.issued", key="openai", principal_name="octo-org/octo-repo", claims=CLAIMS)
    events = (replace(event, id=d.new_id()) for _ in range(EVENTS))
    write(d, d.tables.ledger, [d.ledger.put(one)["Put"]["Item"] for one in events])
    for what, table in (("tokens", d.tables.ledger), ("calls", d.tables.counters)):
        places = (counters(what, "app-ci", subject(number), NOW) for number in range(USES))
        made = (counter_items.items(one, event) for one in places)
        write(d, table, [item_of(counter_items.add(one)) for pair in made for one in pair])


def write(d: Deployment, table: str, items: Sequence[Item]) -> None:
    for start in range(0, len(items), 25):
        puts: Any = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
        d.tables.client.batch_write_item(RequestItems={table: puts})


def test_item_sizes(d: Deployment) -> None:
    """Items are as large as the page says."""
    d.call(d.token())
    d.exchange_iam()
    d.exchange(d.subject_token(ref="refs/heads/other"))
    d.revoke("token", "t" * 22)
    revoked = d.revoke("principal", SUB)
    event = d.event("token.issued", claims={**CLAIMS, "more": "x" * 11_000})
    hour, day = (f"{window}#{start}" for window, start in (("hour", HOUR), ("day", DAY)))
    once = size_of(d.item("control", f"principal#{SUB}", "-"))
    d.revoke("principal", SUB)
    of_budget = tuple(budget_sizes(d))
    sizes = {
        "everything, 2 signing keys": size_of(d.item("control", "everything#*#0", "-")),
        "an issuer, GitHub": size_of(d.item("control", f"issuer#{GITHUB}#0", "-")),
        "a key with a value": size_of(d.item("control", "key#openai#0", "-")),
        "a grant": size_of(d.item("control", "grant#app-ci#0", "-")),
        "the same, among its candidates": size_of(d.item("control", f"grants#{GITHUB}#openai", "app-ci")),
        "a revoked principal": once,
        "each further block": size_of(d.item("control", f"principal#{SUB}", "-")) - once,
        "a revoked token": size_of(d.item("control", f"token#{'t' * 22}", "-")),
        "the record of a revocation": size_of(d.item("control", "revocations", revoked.id)),
        "an hour's calls, after the first": size_of(d.item("counters", f"calls#app-ci#{SUB}", hour)),
        "a day's calls": size_of(d.item("counters", f"calls#app-ci#{SUB}", day)),
        "a slice of an hour's calls, after 60 minutes": size_of(full_slice()),
        "a model's answers of an hour, after the first": size_of(answers_of_hour(1, 1)),
        "the same, after 60 minutes of a dozen each": size_of(answers_of_hour(60, 12)),
        "a day's list of 2 models": size_of(list_of_models(d)),
        "a budget's hour, after 60 minutes": of_budget[0],
        "each call under way, in each of its items": of_budget[1],
        "an hour's tokens, after the first": size_of(d.item("ledger", f"tokens#{SUB}", f"{hour}#app-ci")),
        "a day's tokens": size_of(d.item("ledger", f"tokens#{SUB}", f"{day}#app-ci")),
        "the same, in the index": size_of(index_entry(d.item("ledger", f"tokens#{SUB}", f"{day}#app-ci"))),
        "a bound identity": size_of(d.item("ledger", f"pin#{ROLE}", "-")),
        "a replay lock": max(map(size_of, d.beginning("ledger", "lock#"))),
        "an event, a token issued to GitHub Actions": max(map(size_of, d.beginning("ledger", "audit#"))),
        "an event, a revocation": size_of(d.ledger.put(d.revoked_event(revoked))["Put"]["Item"]),
        "an event, an identity token of 16 KiB": size_of(d.ledger.put(event)["Put"]["Item"]),
    }
    compare({name: [f"{size:,}"] for name, size in sizes.items()}, documented("Sizes"))


def full_slice() -> Item:
    """Return a slice of an hour that has had lots in each of its minutes."""
    hours = (counter_items.items(counters("calls", "app-ci", SUB, HOUR + 60 * minute))[0] for minute in range(60))
    item: dict[str, object] = {}
    for hour in hours:
        one, kept = slice_items.of(hour, 15, 12), {"N": str(Lot(100_001, 20).stored())}
        item |= item_of(slice_items.ask(one, hour.names, "")) | dict.fromkeys(one.names.values(), kept)
    return item


def test_hour_item_growth() -> None:
    """An hour's item grows as the page says."""
    found = {}
    for reasons in (0, 1, 2, 4):
        sizes = [size_of(item) for item in hour_of(REASONS[:reasons])]
        passes = next((str(minute) for minute, size in enumerate(sizes, 1) if size > WRU), "never")
        found[str(reasons)] = [f"{sizes[-1]:,}", passes, str(math.ceil(sizes[-1] / WRU))]
    compare(found, documented("An hour's calls"))


def hour_of(reasons: tuple[str, ...]) -> Iterator[Item]:
    """Yield an hour's item after each of its minutes, in which one was taken and one was refused for each reason."""
    item: dict[str, object] = {}
    for minute in range(60):
        hour, _ = counter_items.items(counters("calls", "app-ci", SUB, HOUR + 60 * minute))
        for update in (counter_items.add(hour), *(counter_items.add_refused(hour, one) for one in reasons)):
            item |= item_of(update)
        yield item
