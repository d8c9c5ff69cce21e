"""The edge over botocore with a clock around it, and what it asks of AWS."""

from typing import Any

import over_botocore  # type: ignore[import-not-found]  # beside it, on Lambda
from botocore.client import BaseClient
from measured import REQUESTS, measured  # type: ignore[import-not-found]  # beside it

_REAL = BaseClient._make_api_call  # type: ignore[attr-defined]


def _noted(self: object, operation: str, parameters: object) -> object:
    REQUESTS.append(operation)
    return _REAL(self, operation, parameters)


BaseClient._make_api_call = _noted  # type: ignore[attr-defined]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Measure it."""
    answer: dict[str, Any] = measured(over_botocore.handler, event, context)
    return answer
