"""What gateways write into the counters table, and items of it: for the page that says what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.aws import answer_items, budget_items
from chalicelib.aws.answer_usage import DynamoAnswerUsage
from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.budgets import DynamoBudgets
from chalicelib.aws.dynamodb import make_client
from chalicelib.aws.items import Item
from chalicelib.budget import Reservation
from chalicelib.usage import Answered, ModelUse, NotAdded, UsagePage, UsageQuery, window_start
from tests.deployment import GITHUB, NOW, SUB, Deployment
from tests.dynamodb_units import size_of

HOUR, DAY = window_start("hour", NOW), window_start("day", NOW)


def subject(number: int) -> str:
    return f"{GITHUB}|repository_id:{456000 + number}"


def item_of(update: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item that an update makes of nothing: its names and its values are in one order."""
    names, values = update["ExpressionAttributeNames"], update["ExpressionAttributeValues"]
    return {**update["Key"], **dict(zip(names.values(), values.values(), strict=True))}


def reserved(number: int, *, shared: bool = False) -> Reservation:
    """Return what a call may take."""
    return Reservation(f"call-{number}", "app-ci", SUB, NOW, {"usage": 7_500}, shared)


def budget_sizes(d: Deployment) -> Iterator[int]:
    """Yield the bytes of a budget's hour after all of its minutes, and those that a call under way adds."""
    budgets = DynamoBudgets(BotocoreClient(d.tables.client), d.tables.counters)
    key = budget_items.items(reserved(0))[0].key
    place = "counters", key["pk"]["S"], key["sk"]["S"]
    for minute in range(60):
        one = reserved(minute)._replace(at=HOUR + 60 * minute)
        budgets.reserve(one, (), NOW)
        budgets.settle(one, {"usage": 900})
    whole = size_of(d.item(*place))
    yield whole
    budgets.reserve(reserved(60), (), NOW)
    yield size_of(d.item(*place)) - whole


def answered(number: int = 0, minute: int = NOW, count: int = 1, model: str = "gpt-5-mini") -> Answered:
    """Return what answers of this many hundred tokens took."""
    return Answered(subject(number), "app-ci", "openai", minute, ModelUse(model, count, 0, 900 * count, 400 * count, 0))


def answers_of_hour(minutes: int, count: int) -> Item:
    """Return a model's item of an hour after so many minutes, in each of which there were so many answers."""
    item: dict[str, Any] = {}
    for minute in range(minutes):
        for name, value in item_of(answer_items.add(answered(0, HOUR + 60 * minute, count), "gpt-5-mini")).items():
            is_sum = name.startswith("h")
            item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(value["N"]))} if is_sum else value
    return item


def list_of_models(d: Deployment) -> Item:
    """Return the list of a day's two models."""
    answers = DynamoAnswerUsage(BotocoreClient(d.tables.client), d.tables.counters)
    answers.add([answered(), answered(model="text-embedding-3-small")])
    return d.item("counters", answer_items.partition("app-ci", subject(0)), f"models#{DAY}")


def read_usage_with_answers(d: Deployment) -> UsagePage:
    """Read one principal's usage once its answers were counted, which costs nobody anything here."""
    unmetered = BotocoreClient(make_client("us-east-1"))
    assert DynamoAnswerUsage(unmetered, d.tables.counters).add([answered()]) == NotAdded()
    page = d.usage.uses(UsageQuery("hour", HOUR, principal=subject(0)))
    assert page.uses[0].models == (answered().use,)
    return page
