"""What models cost: prices as data with a date, and the cost of a call in whole millionths of a dollar, rounded up."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

MILLION = 1_000_000
_DATED = re.compile(r"(.+?)(?:-latest|-\d{8}|-\d{4}-\d{2}-\d{2})")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MODEL = re.compile(r"[A-Za-z0-9._:/@+~-]{1,100}")
_MOST = 10**12


class Tier(NamedTuple):
    """Prices of a million tokens, in millionths of a dollar, of a call with more than `above` tokens of input."""

    above: int
    input: int
    output: int
    cached: int
    """Of input that came from a cache."""
    written: int
    """Of input that is written to a cache, which is never cheaper than other input."""


class Price(NamedTuple):
    """What a model costs, by the size of the input; the first tier is for any."""

    tiers: tuple[Tier, ...]

    def cost(self, tokens: Tokens) -> int:
        """Return what so many tokens cost, in millionths of a dollar."""
        tier = next(one for one in reversed(self.tiers) if tokens.input > one.above or not one.above)
        cached = min(tokens.cached, tokens.input)
        written = min(tokens.written, tokens.input - cached)
        plain = tokens.input - cached - written
        sums = plain * tier.input + cached * tier.cached + written * tier.written + tokens.output * tier.output
        return -(-sums // MILLION)

    def most(self, tokens: Tokens) -> int:
        """Return what so many tokens cost at most: the input written to a cache, and fewer of it if that costs more."""
        sizes = {tokens.input, *(one.above for one in self.tiers if one.above < tokens.input)}
        return max(self.cost(Tokens(size, tokens.output, 0, size)) for size in sizes)


class Tokens(NamedTuple):
    """Tokens of a call. cached, written: those of the input that came from a cache, that were written to one."""

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0


class Prices(NamedTuple):
    """All prices that are known. date: as of when, YYYY-MM-DD."""

    date: str
    models: Mapping[str, Mapping[str, Price]]
    """By provider and by the model's name."""

    def find(self, provider: str, model: str) -> Price | None:
        """Return what a model costs, also under a name with its date; None if that is not known."""
        known = self.models.get(provider, {})
        dated = _DATED.fullmatch(model)
        return known.get(model) or (known.get(dated[1]) if dated else None)


NO_PRICES = Prices("", {})
"""With these, no call under a limit of money is admitted."""


def parse(text: str) -> Prices:
    """Read prices from JSON: `{"date": …, "providers": {PROVIDER: {MODEL: [[above, input, output, cached, written], …]}}}`.

    Raises ValueError with what is wrong; it quotes nothing but names.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    date, providers = (whole.get("date"), whole.get("providers")) if isinstance(whole, dict) else (None, None)
    if not (isinstance(date, str) and _DATE.fullmatch(date)):
        raise ValueError('it has no "date" as in 2026-11-28')
    if not (isinstance(providers, dict) and providers):
        raise ValueError('it has no "providers"')
    return Prices(date, {str(name): _models(str(name)[:64], models) for name, models in providers.items()})


def _models(provider: str, models: object) -> Mapping[str, Price]:
    if not isinstance(models, dict):
        raise ValueError(f"{provider}: no mapping of models to prices")  # noqa: TRY004  it is one kind of fault
    return {name: _price(provider, name, rows) for name, rows in models.items()}


def _price(provider: str, model: str, rows: object) -> Price:
    if not _MODEL.fullmatch(model):
        raise ValueError(f"{provider}: a model whose name has other characters than letters, digits and ._:/@+~-")
    tiers = [_tier(row) for row in rows] if isinstance(rows, list) else []
    sound = [one for one in tiers if one is not None]
    starts = [one.above for one in sound]
    if not tiers or len(sound) < len(tiers) or starts[0] != 0 or starts != sorted(set(starts)):
        row = "[above, input, output, cached, written]"
        raise ValueError(
            f"{provider}: {model}: no list of rows {row} of whole numbers, of which the first is for above 0"
        )
    return Price(tuple(sound))


def _tier(row: object) -> Tier | None:
    numbers = row if isinstance(row, list) else []
    is_sound = len(numbers) == 5 and all(type(one) is int and 0 <= one <= _MOST for one in numbers)
    # SECURITY: a cache that costs less to write than to leave alone would make the worst case none
    # (test_prices_with_a_fault).
    return Tier(*numbers) if is_sound and numbers[4] >= numbers[1] else None
