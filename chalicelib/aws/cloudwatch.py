"""The broker's log lines and metrics as CloudWatch reads them: JSON, and its embedded metric format, by Powertools.

One line for each token issued and each refusal, with one metric, `Answers` in the namespace `Keybroker`, by `outcome`
(issued, refused, failed) and by `outcome`, `key` and `reason`. These are fixed words and names from the policy, so that
callers cannot create new metrics. The request id of the answer is the line's `correlation_id`.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chalicelib.exchange.ledger import ExchangeState, Issuance, Ledger, StateQuery

if TYPE_CHECKING:
    from chalicelib.audit import Event, IssuedCount, Page, Query

NAMESPACE = "Keybroker"
NONE = "none"
"""The key of a request refused before a grant was chosen: until then its name is only what the caller sent."""

_LOG = logging.getLogger("keybroker")  # app.py's


def start(door: str) -> None:
    """Send the broker's log to CloudWatch. door: `public` or `admin`."""
    _LOG.handlers = [_Lines(f"keybroker-{door}")]
    _LOG.propagate = False  # or Lambda's own handler would write each line again
    _LOG.setLevel(logging.INFO)


class _Lines(logging.Handler):
    """Writes the doors' lines. Powertools is imported with the first of them, which keeps cold starts short."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = json.loads(record.getMessage())
            shown = logging.makeLogRecord({**vars(record), "correlation_id": line["request_id"]})
            sys.stdout.write(_formatter(self._service).format(shown) + "\n")
            _count(line, self._service)
        except Exception:  # noqa: BLE001  a line that cannot be written must not change what is answered
            sys.stdout.write('{"level": "ERROR", "message": "a log line could not be written"}\n')


def _count(line: Mapping[str, Any], service: str) -> None:
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit  # noqa: PLC0415  see _Lines

    metrics = EphemeralMetrics(namespace=NAMESPACE, service=service)
    outcome = line.get("outcome") or ("failed" if line["status"] >= 500 else "refused")
    metrics.add_dimension("outcome", outcome)
    metrics.add_dimensions(
        service=service, outcome=outcome, key=line.get("key") or NONE, reason=line.get("reason") or NONE
    )
    metrics.add_metric("Answers", MetricUnit.Count, 1)
    metrics.add_metadata("request_id", line["request_id"])
    metrics.flush_metrics()


@functools.cache
def _formatter(service: str) -> logging.Formatter:
    from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter  # noqa: PLC0415  see _Lines

    return LambdaPowertoolsFormatter(service=service)


class LoggedLedger:
    """A `chalicelib.exchange.ledger.Ledger` that logs each token once its issuance is written."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def find(self, query: StateQuery) -> ExchangeState:
        """See `Ledger.find`."""
        return self._ledger.find(query)

    def record(self, event: Event) -> None:
        """See `Ledger.record`. Refusals are logged by the door."""
        self._ledger.record(event)

    def page(self, query: Query) -> Page:
        """See `Audit.page`."""
        return self._ledger.page(query)

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        """See `Audit.count_issued`."""
        return self._ledger.count_issued(since, until, at_most)

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        """See `Ledger.issue`."""
        before = self._ledger.issue(issuance, now)
        event = issuance.event
        # SECURITY: ids alone, never a token (test_cloudwatch.py).
        line = {"door": "public", "outcome": "issued", "status": 200, "request_id": event.request_id, "key": event.key}
        jti = event.jti if before is None else before["jti"]
        _LOG.info(json.dumps({**line, "grant": event.grant, "principal": event.principal, "jti": jti}))
        return before
