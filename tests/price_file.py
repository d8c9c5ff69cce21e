"""Writes local/prices.json from an installed genai-prices: `pip install genai-prices; python -m tests.price_file`.

Of each provider's models that are priced by tokens: the name, and what a million tokens cost, in millionths of a dollar.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent.parent / "local" / "prices.json"
_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "mistral": "mistral",
    "cohere": "cohere",
    "groq": "groq",
    "openrouter": "openrouter",
    "together": "together",
    "deepseek": "deepseek",
    "xai": "x-ai",
}
"""Our name of a provider, and genai-prices'."""
_KEYS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")
_DATED = re.compile(r".+(-latest|-\d{8}|-\d{4}-\d{2}-\d{2})")
_BILLED_OTHERWISE = re.compile(
    r"(^|[-/._])(images?|search|research|sonar|online|audio|realtime|live|tts|transcribe|video)([-._]|$)"
)
"""Models that put out or take in more than text, or search by themselves: a price of text tokens is not all they cost."""
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+~-]{1,100}")


def write() -> None:
    """Write the file anew."""
    data = importlib.import_module("genai_prices.data")
    version = metadata.version("genai-prices")
    found = {
        ours: _models(next(one for one in data.providers if one.id == theirs)) for ours, theirs in _PROVIDERS.items()
    }
    whole = {
        "source": f"genai-prices {version}, https://github.com/pydantic/genai-prices; price variants and non-token prices left out",
        "licence": _licence(),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "unit": "millionths of a US dollar for a million tokens: [input tokens from which on, input, output, cached, written]",
    }
    OUT.write_text(json.dumps(whole, indent=1).rstrip("\n}") + ",\n" + _lines(found) + "\n}\n")


def _lines(providers: dict[str, dict[str, list[list[int]]]]) -> str:
    """Return the providers as JSON, with a line for each model, so that a change can be read."""
    parts = []
    for name, models in providers.items():
        lines = ",\n".join(f"   {json.dumps(model)}: {json.dumps(tiers)}" for model, tiers in models.items())
        parts.append(f"  {json.dumps(name)}: {{\n{lines}\n  }}")
    return ' "providers": {\n' + ",\n".join(parts) + "\n }"


def _licence() -> str:
    files = metadata.files("genai-prices") or []
    return next(Path(str(one.locate())).read_text() for one in files if one.name == "LICENSE").strip()


def _models(provider: Any) -> dict[str, list[list[int]]]:  # noqa: ANN401  genai-prices' own
    found: dict[str, list[list[int]]] = {}
    for model in provider.models:
        tiers = _tiers(model.get_prices(dt.datetime.now(tz=dt.UTC)))
        for name in _names(model):
            if tiers and _PLAIN.fullmatch(name) and not _BILLED_OTHERWISE.search(name):
                found.setdefault(name, tiers)
    return dict(sorted(found.items()))


def _names(model: Any) -> Iterator[str]:  # noqa: ANN401  as above
    """Yield what a model is called: its id, and every name that it is matched with exactly, or that has a date."""
    yield model.id
    clauses = [model.match]
    while clauses:
        clause = clauses.pop()
        clauses += getattr(clause, "or_", ())
        if hasattr(clause, "equals"):
            yield clause.equals
        elif hasattr(clause, "starts_with") and _DATED.fullmatch(clause.starts_with):
            yield clause.starts_with


def _tiers(price: Any) -> list[list[int]]:  # noqa: ANN401  as above
    values = {key: getattr(price, key, None) for key in _KEYS}
    if values["input_mtok"] is None:
        return []
    starts = sorted({0, *(tier.start for one in values.values() for tier in getattr(one, "tiers", ()))})
    return [[start, *_row(values, start)] for start in starts]


def _row(values: dict[str, Any], start: int) -> list[int]:
    at = {key: _at(value, start) for key, value in values.items()}
    plain = at["input_mtok"] or 0
    cached = at["cache_read_mtok"] if at["cache_read_mtok"] is not None else plain
    # An answer does not always say how long a cache is kept, so that the dearer price counts.
    written = max(plain, at["cache_write_mtok"] or 0, at["cache_write_1h_mtok"] or 0)
    return [plain, at["output_mtok"] or 0, cached, written]


def _at(value: Any, start: int) -> int | None:  # noqa: ANN401  as above
    """Return a price from so many tokens of input on."""
    if value is None:
        return None
    dollars = getattr(value, "base", value)
    for tier in getattr(value, "tiers", ()):
        dollars = tier.price if tier.start <= start else dollars
    return int((Decimal(dollars) * 1_000_000).to_integral_value(rounding="ROUND_CEILING"))


if __name__ == "__main__":
    write()
