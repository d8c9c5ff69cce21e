"""The prices of models: a file of the user's, or the one that comes with Keybroker, of the date that it says."""

from __future__ import annotations

from pathlib import Path

from chalicelib.providers import prices
from chalicelib.providers.prices import Prices
from local.errors import PricesUnusable

OURS = Path(__file__).with_name("prices.json")
"""Made from genai-prices (MIT) by tests/price_file.py."""
_SIZE_LIMIT = 8 * 1024**2


def read(path: Path | None) -> Prices:
    """Return the prices of a file, None for ours; raises PricesUnusable."""
    where = path or OURS
    try:
        with where.open("rb") as file:
            raw = file.read(_SIZE_LIMIT + 1)
        if len(raw) > _SIZE_LIMIT:
            raise PricesUnusable(hint=f"{where}: it is over {_SIZE_LIMIT} bytes")
        return prices.parse(raw.decode())
    except (OSError, ValueError) as error:
        what = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise PricesUnusable(hint=f"{where}: {what}") from error


def told(path: Path | None) -> str:
    """Return in words how many prices a file has, None for ours, and of when; raises PricesUnusable."""
    found = read(path)
    whose = "the prices that came along are" if path is None else f"{path} has prices"
    return f"{whose} of {sum(map(len, found.models.values()))} models, as of {found.date}"
