"""The edge function's zip over ministack's DynamoDB and Secrets Manager: what is deployed admits, without further requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import pip_index
from tests.bench import edge_stage
from tests.bench.edge_stage import Stage

ROUND_TRIP = ["BatchGetItem", "UpdateItem", "UpdateItem"]
_MODULES = Path(edge_stage.__file__).parent / "on_lambda"
_HANDLE = """
import json, sys
import start, edge, measured
results = []
edge.handler = lambda event, context: results.append(start.handler(event, context)) or results[-1]
requests = [measured.handler(event, None)["requests"] for event in json.load(sys.stdin)]
print(json.dumps({"requests": requests, "results": results}))
"""


@pytest.fixture(scope="module")
def stage(endpoint: str) -> Iterator[Stage]:
    try:
        with edge_stage.stage(endpoint, 2) as one:
            yield one
    except (RuntimeError, ValueError) as fault:
        pip_index.skip_or_fail(str(fault))


def handle(stage: Stage, *events: dict[str, Any]) -> dict[str, Any]:
    """Handle events one after another in one cold process that has nothing but the zip; return what came of it."""
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", _HANDLE],
        env={"PYTHONPATH": f"{stage.task}:{_MODULES}", "PATH": os.defpath, **stage.environment},
        input=json.dumps(events),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_first_call_reads_one_key_beside_its_wave_and_a_warm_one_nothing_else(stage: Stage) -> None:
    """The signing keys were read at the start."""
    found = handle(stage, stage.event(0), stage.event(0), stage.event(1))
    assert found["requests"] == [sorted([*ROUND_TRIP, "GetSecretValue"]), ROUND_TRIP, ROUND_TRIP]


def test_a_call_goes_on_with_the_key_that_secrets_manager_keeps(stage: Stage) -> None:
    (result,) = handle(stage, stage.event(0))["results"]
    assert (result["uri"], result["origin"]["custom"]["domainName"]) == ("/v1/chat/completions", "api.openai.com")
    assert result["headers"]["authorization"] == [{"key": "authorization", "value": "Bearer sk-made-up"}]
    assert stage.tokens[0] not in json.dumps(result)
