"""The watcher: a scheduled function with no entry that reads the counters and prints metrics, in CloudWatch's embedded format.

It may read and nothing else. It runs with a schedule of its minutes, so that each run is about whole minutes that are over.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from chalicelib.admin.revocation_probe import NAME
from chalicelib.admin.watching import Metrics, measured, told
from chalicelib.aws.cloudwatch import NAMESPACE
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.aws.watched import DynamoWatched
from chalicelib.errors import NotConfigured
from chalicelib.quota import WINDOWS

EVERY = (1, 5)
"""Minutes between runs: they divide an hour, so that no run is about two hours."""
_NAMES = ("region", "deployment", "control", "counters", "ledger")
_NUMBERS = ("minutes", "principals", "key_days")


class WatcherConfig(NamedTuple):
    """What the function reads from environment variables: `KEYBROKER_` and the field's name in capitals."""

    region: str
    """`AWS_REGION`, which Lambda sets."""
    deployment: str
    """The prefix of all names; the metrics' dimension `service`."""
    control: str
    counters: str
    ledger: str
    """The tables' names."""
    minutes: int
    """Minutes between runs, one of EVERY."""
    principals: int
    """Principals under a grant that are read, at most."""
    key_days: int
    """Days after which the value of a key is past its date; 0 for none."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> WatcherConfig:
        """Read it; raises NotConfigured for a variable that is missing or malformed."""
        found = {name: environ.get(f"KEYBROKER_{name.upper()}", "") for name in (*_NAMES, *_NUMBERS)}
        found["region"] = environ.get("AWS_REGION", "")
        for name, value in found.items():
            if not value or (name in _NUMBERS and not (value.isascii() and value.isdecimal() and len(value) < 7)):
                raise NotConfigured(hint=f"KEYBROKER_{name.upper()} is missing or malformed")
        numbers = {name: int(found.pop(name)) for name in _NUMBERS}
        if numbers["minutes"] not in EVERY or not numbers["principals"]:
            raise NotConfigured(hint="KEYBROKER_MINUTES must be 1 or 5, KEYBROKER_PRINCIPALS at least 1")
        region, deployment, control, counters, ledger = (found[name] for name in _NAMES)
        return cls(region, deployment, control, counters, ledger, **numbers)


def handler(event: Mapping[str, object], _context: object) -> None:
    """Measure the minutes before this run. Whatever fails is raised: then Lambda tries again, and no heartbeat is an alarm."""
    config = WatcherConfig.read(os.environ)
    tables = Tables(make_client(config.region), config.control, config.counters, config.ledger)
    run(config, tables, scheduled(event, int(time.time())), sys.stdout.write)


def scheduled(event: Mapping[str, object], now: int) -> int:
    """Return when a run was to be: a second try is about the same minutes as the first. now: of a run without a schedule."""
    at = event.get("time")
    return int(datetime.fromisoformat(at).timestamp()) if isinstance(at, str) else now


def run(config: WatcherConfig, tables: Tables, now: int, write: Callable[[str], object]) -> None:
    """Write the metrics of the last whole minutes, and a line that names the few behind them; raises Unavailable."""
    reading = DynamoWatched(tables, config.principals).read(minutes(config.minutes, now))
    # The probe revokes its own token and calls on, each time (edge_probe.py); its grant admits no call, and one that was is shown.
    seen = [one for one in reading.seen if one.grant != NAME or one.calls]
    keys = DynamoControl(tables).known_keys()
    ages = {one.name: (now - one.current.at) // WINDOWS["day"] if one.current else None for one in keys}
    days = {one.name: one.rotate_after // WINDOWS["day"] if one.rotate_after else config.key_days for one in keys}
    for one in measured(seen, ages, days, unread=reading.unread):
        write(json.dumps(embedded(one, config.deployment, now)) + "\n")
    names = told(seen)
    if names:
        # SECURITY: names go into a line and never into a dimension; JSON keeps it one line (test_no_principal_is_a_dimension).
        write(json.dumps({"level": "INFO", "service": config.deployment, "message": "watched", **names}) + "\n")


def minutes(every: int, now: int) -> Sequence[int]:
    """Return the starts of the minutes that a run is about: the last ones that are over and end at a multiple of `every`."""
    end = now - now % (60 * every)
    return range(end - 60 * every, end, 60)


def embedded(metrics: Metrics, deployment: str, now: int) -> Mapping[str, object]:
    """Return metrics in the embedded format, with one set of dimensions: the deployment (`service`) and their own."""
    dimensions = {"service": deployment, **metrics.dimensions}
    named = [{"Name": name, "Unit": "Percent" if name.endswith("Share") else "Count"} for name in metrics.values]
    about = {"Namespace": NAMESPACE, "Dimensions": [list(dimensions)], "Metrics": named}
    return {"_aws": {"Timestamp": now * 1000, "CloudWatchMetrics": [about]}, **dimensions, **metrics.values}
