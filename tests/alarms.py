"""Evaluates a CloudWatch alarm as a template has it, over documents in the embedded metric format, as CloudWatch does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.cloudformation import resolved, template

ALARM = "AWS::CloudWatch::Alarm"
_STATISTICS: Mapping[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max}
_KNOWN = {
    "AlarmName",
    "AlarmDescription",
    "Namespace",
    "MetricName",
    "Dimensions",
    "Statistic",
    "Period",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "AlarmActions",
    "Tags",
}


def alarms(name: str, **parameters: str) -> dict[str, Mapping[str, Any]]:
    """Return a template's alarms, by the alarm's name without the prefix."""
    found = [one["Properties"] for one in resolved(template(name), **parameters).values() if one["Type"] == ALARM]
    return {one["AlarmName"].removeprefix("keybroker-"): one for one in found}


def documents(text: str) -> list[Mapping[str, Any]]:
    """Return the documents in the embedded format among log lines."""
    return [one for one in map(json.loads, text.splitlines()) if "_aws" in one]


def rings(alarm: Mapping[str, Any], written: Iterable[Mapping[str, Any]], now: int) -> bool:
    """Whether an alarm is in ALARM at a time, by the documents until then. An alarm of a form unknown here is a fault."""
    assert alarm.keys() <= _KNOWN, alarm.keys() - _KNOWN
    period, periods = int(alarm["Period"]), int(alarm["EvaluationPeriods"])
    ends = now - now % period
    starts = [ends - period * back for back in range(periods)]
    points = _points(alarm, written)
    breaching = [_is_breaching(alarm, points.get(start)) for start in starts]
    return breaching.count(True) >= int(alarm.get("DatapointsToAlarm", periods))


def _points(alarm: Mapping[str, Any], written: Iterable[Mapping[str, Any]]) -> dict[int, list[float]]:
    wanted = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
    found: dict[int, list[float]] = {}
    for document in written:
        at = document["_aws"]["Timestamp"] // 1000
        for about in document["_aws"]["CloudWatchMetrics"]:
            named = {one["Name"] for one in about["Metrics"]}
            sets = [{name: document[name] for name in one} for one in about["Dimensions"]]
            if about["Namespace"] == alarm["Namespace"] and alarm["MetricName"] in named and wanted in sets:
                value = document[alarm["MetricName"]]
                values = value if isinstance(value, list) else [value]
                found.setdefault(at - at % int(alarm["Period"]), []).extend(values)
    return found


def _is_breaching(alarm: Mapping[str, Any], values: list[float] | None) -> bool:
    if values is None:
        return bool(alarm["TreatMissingData"] == "breaching")
    value, threshold = _STATISTICS[alarm["Statistic"]](values), float(alarm["Threshold"])
    operators: Mapping[str, bool] = {"GreaterThanThreshold": value > threshold, "LessThanThreshold": value < threshold}
    return operators[alarm["ComparisonOperator"]]
