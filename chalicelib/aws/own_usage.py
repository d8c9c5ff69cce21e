"""A caller's own usage in DynamoDB: `chalicelib.usage.OwnUsage`, and how its counters are read and put together."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chalicelib.aws import answer_items, budget_items, slice_items
from chalicelib.aws.counter_items import CounterItem, items, key_of
from chalicelib.aws.dynamodb import Tables, read_batch, read_query, run_parallel
from chalicelib.aws.items import Item, number, text
from chalicelib.budget import WHATS, BudgetUse
from chalicelib.quota import WINDOWS, Counter, counters
from chalicelib.usage import ModelUse, UsageQuery, Use, window_start

_DAY = WINDOWS["day"]
Found = Mapping[tuple[str, str], Item]
"""Items by partition and sort key."""
Pair = tuple[str, str]
"""A principal and a grant."""


class DynamoOwnUsage:
    """Over the `ledger` and `counters` tables, of items that are named: it finds nobody's."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def own(self, principal: str, grant: str, now: int) -> Mapping[str, Use]:
        """See `OwnUsage.own`."""
        pair = principal, grant
        # What answers took in a minute would be a query more, which nobody asks for.
        asked = [UsageQuery(one, window_start(one, now), now=now, models=one != "minute") for one in WINDOWS]
        found = self.read(keys_of(pair, one) for one in asked)
        models = [self.models([pair], one, found).get(pair, ()) for one in asked]
        uses = [use_of(pair, one, found, of) for one, of in zip(asked, models, strict=True)]
        return {one.window: use or Use(*pair) for one, use in zip(asked, uses, strict=True)}

    def read(self, keys: Iterable[Sequence[Mapping[str, Any]]]) -> Found:
        """Return items of both tables by partition and sort key, hundreds at once; numbers that nobody took yet are left out."""
        wanted = {(key["pk"]["S"], key["sk"]["S"]): key for group in keys for key in group}
        batches = [list(wanted.values())[start : start + 100] for start in range(0, len(wanted), 100)]
        answers = run_parallel(*(functools.partial(self._batch, batch) for batch in batches))
        found = {(text(item, "pk"), text(item, "sk")): item for items in answers for item in items}
        return {**found, **self._without_what_is_left(found)}

    def models(self, pairs: Iterable[Pair], query: UsageQuery, found: Found) -> Mapping[Pair, tuple[ModelUse, ...]]:
        """Return what answers took, by pair, of those whose models are listed: at CloudFront none are."""
        listed = [pair for pair in pairs if any(found_at(found, key) for key in _list_of_models(pair, query))]
        answers = run_parallel(*(functools.partial(self._answers, pair, query) for pair in listed))
        return dict(zip(listed, answers, strict=True))

    def _answers(self, pair: Pair, query: UsageQuery) -> tuple[ModelUse, ...]:
        asked = answer_items.query(pair[1], pair[0], query)
        return answer_items.uses(read_query(self._tables, self._tables.counters, asked), query)

    def _without_what_is_left(self, found: Found) -> Found:
        """Return those items that handed out numbers ahead, without the numbers that nobody has taken yet."""
        places = slice_items.places(found.values())
        slices = self.read(places.values()) if places else {}
        return {
            place: slice_items.merged(found[place], [found_at(slices, key) for key in keys])
            for place, keys in places.items()
        }

    def _batch(self, keys: Sequence[Mapping[str, Any]]) -> list[Item]:
        of_tokens = [key for key in keys if key["pk"]["S"].startswith("tokens#")]
        of_calls = [key for key in keys if key not in of_tokens]
        return read_batch(self._tables, {self._tables.ledger: of_tokens, self._tables.counters: of_calls})


def keys_of(pair: Pair, query: UsageQuery) -> list[Mapping[str, Any]]:
    """Return the keys of the items that hold a pair's counts in the window, and its labels of that day or the day before."""
    counted = [_item(what, pair, query).key for what in ("tokens", "calls")]
    of_budget = [budget_items.key_of(_budget(WHATS[0], pair, query))] if query.models else []
    return [*counted, *_labels(pair, query), *_list_of_models(pair, query), *of_budget]


def _budget(what: str, pair: Pair, query: UsageQuery) -> Counter:
    return Counter(what, pair[1], pair[0], query.window, query.start)


def _budgets(pair: Pair, query: UsageQuery, found: Found) -> dict[str, BudgetUse]:
    counters = [_budget(what, pair, query) for what in WHATS]
    item = found_at(found, budget_items.key_of(counters[0]))
    return {one.what: budget_items.use(item, one, query.now) for one in counters if budget_items.is_counted(item, one)}


def _list_of_models(pair: Pair, query: UsageQuery) -> list[Mapping[str, Any]]:
    """Return the key of the item that lists the day's models, if anybody wants to know what answers took."""
    day = window_start("day", query.start)
    return [answer_items.models_key(pair[1], pair[0], day)] if query.models else []


def _labels(pair: Pair, query: UsageQuery) -> list[Mapping[str, Any]]:
    day = window_start("day", query.start)
    return [key_of("tokens", pair[1], pair[0], "day", at) for at in (day, day - _DAY)]


def _item(what: str, pair: Pair, query: UsageQuery) -> CounterItem:
    hour, day = items(counters(what, pair[1], pair[0], query.start))
    return day if query.window == "day" else hour


def found_at(found: Found, key: Mapping[str, Any]) -> Item:
    """Return the item of a key, {} if it was not found."""
    return found.get((key["pk"]["S"], key["sk"]["S"]), {})


def use_of(pair: Pair, query: UsageQuery, found: Found, models: tuple[ModelUse, ...]) -> Use | None:
    """Return what a pair did in the window, by the items of `keys_of`; None if it did nothing."""
    of_tokens, of_calls = (_item(what, pair, query) for what in ("tokens", "calls"))
    tokens, calls = found_at(found, of_tokens.key), found_at(found, of_calls.key)
    label = next((found_at(found, key) for key in _labels(pair, query) if found_at(found, key)), {})
    use = Use(
        principal=pair[0],
        grant=pair[1],
        key=text(label, "key"),
        name=text(label, "name"),
        tokens=of_tokens.numbers(tokens)[query.window],
        calls=of_calls.numbers(calls)[query.window],
        refused_tokens=of_tokens.refused(tokens, query.window),
        refused_calls=of_calls.refused(calls, query.window),
        # An hour's item has the last minute of that hour; for one of its minutes, it was no later than that minute.
        last_seen=min(
            max(number(tokens, "seen"), number(calls, "seen"), query.start), query.start + WINDOWS[query.window] - 60
        ),
        models=models,
        budgets=_budgets(pair, query, found),
    )
    did = use.tokens or use.calls or use.refused_tokens or use.refused_calls or models
    return use if did else None
