"""The tables of `keybroker usage`: who did what, what models took, and what was taken of limits of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keybroker.cli import output, shortened
from keybroker.cli.shortened import Shortened
from keybroker.cli.table import Fit

MODEL_HEADINGS = ("model", "answers", "unknown", "input", "output", "cached")
_NUMBERS = ("answers", "unknown", "input_tokens", "output_tokens", "cached_tokens")

_NAMED = 5

_FIT = Fit(keep={"name": 24}, once=("grant", "key"))
"""By their names people tell principals apart."""


def refused(use: dict[str, Any]) -> int:
    """Return how much was refused, calls and tokens."""
    return int(sum(use["refused_calls"].values()) + sum(use["refused_tokens"].values()))


def uses(found: list[dict[str, Any]], ids: Mapping[str, Shortened]) -> None:
    """Show what each principal did under each grant, and what all of them come to."""
    headings = ("name", "principal", "grant", "key", "calls", "refused", "tokens", "refused", "seen")
    rows = [
        (
            row["name"] or "-",
            ids[row["principal"]],
            row["grant"] or "-",
            row["key"] or "-",
            row["calls"],
            shortened.refused(row["refused_calls"]),
            row["tokens"],
            shortened.refused(row["refused_tokens"]),
            shortened.age(row["last_seen"]),
        )
        for row in found
    ]
    output.rows(headings, rows, fit=_FIT)
    if len(found) > 1:
        output.message(f"together: {sums(found)}, by {output.number(len(ids), 'principal')}")


def sums(found: Iterable[dict[str, Any]]) -> str:
    """Return what uses come to, e.g. "12 calls (3 refused), 4 tokens (0 refused)"."""
    listed, told = list(found), []
    for what in ("call", "token"):
        refusals = sum(sum(one[f"refused_{what}s"].values()) for one in listed)
        told.append(f"{output.number(sum(one[f'{what}s'] for one in listed), what)} ({refusals:,} refused)")
    return ", ".join(told)


def budgets(found: list[dict[str, Any]]) -> None:
    """Show what was taken of limits of what models take, a row for each that has any."""
    headings = ("name", "principal", "grant", "key", "tokens used", "reserved", "usd used", "reserved")
    ids = shortened.principals({use["principal"] for use in found})
    rows = [
        (
            *_who(use, ids),
            *(one["usage"][name] for name in ("used", "reserved")),
            *(_dollars(one.get("spend"), name) for name in ("used", "reserved")),
        )
        for use in found
        if "usage" in (one := use.get("budgets", {}))
    ]
    output.rows(headings, rows, fit=_FIT)
    dates = {one["prices"] for use in found if "prices" in (one := use.get("budgets", {}).get("spend", {}))}
    if dates:
        output.message(f"usd: list prices as of {', '.join(sorted(dates))}")
    unpriced = {use["grant"] for use in found if use.get("models") and "spend" not in use.get("budgets", {})}
    if unpriced:
        output.message(f"what calls cost is counted only where a grant limits it; here not for {_named(unpriced)}")
        output.message("what the models took all the same: keybroker usage --models")


def models(found: list[dict[str, Any]]) -> None:
    """Show the tokens of language models, a row for each model. A broker from before there were any says nothing of them."""
    headings = ("name", "principal", "grant", "key", "model", *(one.replace("_", " ") for one in _NUMBERS))
    ids = shortened.principals({use["principal"] for use in found})
    rows = [(*_who(use, ids), *model_cells(model)) for use in found for model in use.get("models", ())]
    output.rows(headings, rows, fit=_FIT)


def model_cells(model: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what one model's answers took, as under MODEL_HEADINGS."""
    return (model["model"] or "-", *(model[name] for name in _NUMBERS))


def amount(what: str, count: int) -> str:
    """Return an amount of a limit: `spend` in dollars, to the millionth, all else as it is."""
    return f"{count // 1_000_000}.{count % 1_000_000:06}" if what == "spend" else str(count)


def _named(grants: set[str]) -> str:
    """Return some names in words."""
    names = sorted(grants)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _who(use: dict[str, Any], ids: Mapping[str, Shortened]) -> tuple[object, ...]:
    return (use["name"] or "-", ids[use["principal"]], use["grant"] or "-", use["key"] or "-")


def _dollars(spend: dict[str, int] | None, name: str) -> str:
    """Return an amount in dollars, to the millionth; "-" where the grant limits no money."""
    return "-" if spend is None else amount("spend", spend[name])
