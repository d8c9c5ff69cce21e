"""Usage in DynamoDB: `chalicelib.usage.Usage`, from the items that quotas are counted with."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from chalicelib.aws import answer_items, budget_items, slice_items
from chalicelib.aws.counter_items import CounterItem, beginning, items, key_of
from chalicelib.aws.dynamodb import Tables, as_unavailable, read_batch, read_partition, read_query, run_parallel
from chalicelib.aws.items import Item, held, number, text
from chalicelib.budget import WHATS, BudgetUse
from chalicelib.quota import WINDOWS, Counter, counters, cursor_key, read_cursor_key
from chalicelib.usage import RECENT_SECONDS, ModelUse, UsagePage, UsageQuery, Use, window_start

INDEX = "by_day"
_DAY = WINDOWS["day"]
Found = Mapping[tuple[str, str], Item]
"""Items by partition and sort key."""


class DynamoUsage:
    """Over the `ledger` and `counters` tables. Active principals are found by an index, which may be a second behind."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def uses(self, query: UsageQuery) -> UsagePage:
        """See `Usage.uses`."""
        read_cursor_key(query.after)
        listed = self._listed(query)
        pairs = [read_cursor_key(one) for one in listed[: query.limit]]
        wanted = [(principal, grant) for principal, grant in pairs if query.grant in ("", grant)]
        found = self.read(_keys(pair, query) for pair in wanted)
        models = self._models(wanted, query, found)
        uses = [_use(pair, query, found, models.get(pair, ())) for pair in wanted]
        kept = tuple(use for use in uses if use and query.key in ("", use.key))
        return UsagePage(kept, listed[query.limit - 1] if len(listed) > query.limit else "")

    def recent_calls(self, pairs: Collection[tuple[str, str]], now: int) -> Mapping[tuple[str, str], int]:
        """See `Usage.recent_calls`."""
        minutes = range(window_start("minute", now) - RECENT_SECONDS + 60, now + 1, 60)
        found = self.read([_calls(pair, at).key for at in (minutes[0], now)] for pair in pairs)
        return {pair: sum(_of_minute(_calls(pair, at), found) for at in minutes) for pair in pairs}

    def _listed(self, query: UsageQuery) -> list[str]:
        """Return the cursor keys of principals issued or refused a token that day or the day before, one more than a page."""
        day = window_start("day", query.start)
        if query.principal:
            found = {
                cursor_key(query.principal, grant) for at in (day, day - _DAY) for grant in self._grants(query, at)
            }
        else:
            of_days = run_parallel(*(functools.partial(self._of_day, at, query) for at in (day, day - _DAY)))
            found = {one for listed in of_days for one in listed}
        return [one for one in sorted(found, key=str.encode) if one.encode() > query.after.encode()][: query.limit + 1]

    def _grants(self, query: UsageQuery, day: int) -> list[str]:
        mark = beginning("day", day)
        rows = read_partition(self._tables, self._tables.ledger, f"tokens#{query.principal}", mark)
        return [text(row, "sk").removeprefix(mark) for row in rows]

    def _of_day(self, day: int, query: UsageQuery) -> list[str]:
        values: dict[str, Any] = {":day": {"S": f"day#{day}"}}
        condition = "listed = :day"
        if query.after:
            values[":after"] = {"S": query.after}
            condition += " AND place > :after"
        with as_unavailable():
            answer = self._tables.client.query(
                TableName=self._tables.ledger,
                IndexName=INDEX,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                Limit=query.limit + 1,
            )
        return [text(item, "place") for item in held(answer, "Items")]

    def read(self, keys: Iterable[Sequence[Mapping[str, Any]]]) -> Found:
        """Return items of both tables by partition and sort key, hundreds at once; numbers that nobody took yet are left out."""
        wanted = {(key["pk"]["S"], key["sk"]["S"]): key for group in keys for key in group}
        batches = [list(wanted.values())[start : start + 100] for start in range(0, len(wanted), 100)]
        answers = run_parallel(*(functools.partial(self._batch, batch) for batch in batches))
        found = {(text(item, "pk"), text(item, "sk")): item for items in answers for item in items}
        return {**found, **self._without_what_is_left(found)}

    def _models(
        self, pairs: Iterable[tuple[str, str]], query: UsageQuery, found: Found
    ) -> Mapping[tuple[str, str], tuple[ModelUse, ...]]:
        """Return what answers took, of those whose models are listed: at CloudFront none are."""
        listed = [pair for pair in pairs if any(_at(found, key) for key in _list_of_models(pair, query))]
        answers = run_parallel(*(functools.partial(self._answers, pair, query) for pair in listed))
        return dict(zip(listed, answers, strict=True))

    def _answers(self, pair: tuple[str, str], query: UsageQuery) -> tuple[ModelUse, ...]:
        asked = answer_items.query(pair[1], pair[0], query)
        return answer_items.uses(read_query(self._tables, self._tables.counters, asked), query)

    def _without_what_is_left(self, found: Found) -> Found:
        """Return those items that handed out numbers ahead, without the numbers that nobody has taken yet."""
        places = slice_items.places(found.values())
        slices = self.read(places.values()) if places else {}
        return {
            place: slice_items.merged(found[place], [_at(slices, key) for key in keys])
            for place, keys in places.items()
        }

    def _batch(self, keys: Sequence[Mapping[str, Any]]) -> list[Item]:
        of_tokens = [key for key in keys if key["pk"]["S"].startswith("tokens#")]
        of_calls = [key for key in keys if key not in of_tokens]
        return read_batch(self._tables, {self._tables.ledger: of_tokens, self._tables.counters: of_calls})


def _keys(pair: tuple[str, str], query: UsageQuery) -> list[Mapping[str, Any]]:
    """Return the keys of the items that hold a pair's counts in the window, and its labels of that day or the day before."""
    counted = [_item(what, pair, query).key for what in ("tokens", "calls")]
    of_budget = [budget_items.key_of(_budget(WHATS[0], pair, query))] if query.models else []
    return [*counted, *_labels(pair, query), *_list_of_models(pair, query), *of_budget]


def _budget(what: str, pair: tuple[str, str], query: UsageQuery) -> Counter:
    return Counter(what, pair[1], pair[0], query.window, query.start)


def _budgets(pair: tuple[str, str], query: UsageQuery, found: Found) -> dict[str, BudgetUse]:
    counters = [_budget(what, pair, query) for what in WHATS]
    item = _at(found, budget_items.key_of(counters[0]))
    return {one.what: budget_items.use(item, one, query.now) for one in counters if budget_items.is_counted(item, one)}


def _list_of_models(pair: tuple[str, str], query: UsageQuery) -> list[Mapping[str, Any]]:
    """Return the key of the item that lists the day's models, if anybody wants to know what answers took."""
    day = window_start("day", query.start)
    return [answer_items.models_key(pair[1], pair[0], day)] if query.models else []


def _labels(pair: tuple[str, str], query: UsageQuery) -> list[Mapping[str, Any]]:
    day = window_start("day", query.start)
    return [key_of("tokens", pair[1], pair[0], "day", at) for at in (day, day - _DAY)]


def _item(what: str, pair: tuple[str, str], query: UsageQuery) -> CounterItem:
    hour, day = items(counters(what, pair[1], pair[0], query.start))
    return day if query.window == "day" else hour


def _calls(pair: tuple[str, str], at: int) -> CounterItem:
    return items(counters("calls", pair[1], pair[0], at))[0]


def _at(found: Found, key: Mapping[str, Any]) -> Item:
    return found.get((key["pk"]["S"], key["sk"]["S"]), {})


def _of_minute(item: CounterItem, found: Found) -> int:
    return item.numbers(_at(found, item.key))["minute"]


def _use(pair: tuple[str, str], query: UsageQuery, found: Found, models: tuple[ModelUse, ...]) -> Use | None:
    of_tokens, of_calls = (_item(what, pair, query) for what in ("tokens", "calls"))
    tokens, calls = _at(found, of_tokens.key), _at(found, of_calls.key)
    label = next((_at(found, key) for key in _labels(pair, query) if _at(found, key)), {})
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
