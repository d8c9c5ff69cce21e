"""Instances of the edge function as it is deployed, each a process with nothing but the zip, at once over one DynamoDB."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chalicelib.revocation import SCOPES
from tests.bench import edge_stage
from tests.bench.edge_stage import FEW, Stage
from tests.contracts import samples
from tests.contracts.samples import ISSUER, jti_of

INSTANCES, EACH = 4, 20
ADMITTED, USED_UP, REVOKED, UNAVAILABLE = "goes on", "429", "403", "503"
# Answers go to stderr: the function's log is on stdout.
_SERVE = """
import json, sys, start
for line in sys.stdin:
    result = start.handler(json.loads(line), None)
    print(result.get("status", "goes on"), file=sys.stderr, flush=True)
"""


class Instance:
    """One instance of the function, which handles one event at a time."""

    def __init__(self, stage: Stage) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-P", "-c", _SERVE],
            env={"PYTHONPATH": str(stage.task), "PATH": os.defpath, **stage.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def handle(self, event: object) -> str:
        """Return the status that refuses an event, or ADMITTED."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        return self._process.stderr.readline().strip()

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def stage(endpoint: str) -> Iterator[Stage]:
    try:
        with edge_stage.stage(endpoint, 1, prefix="kbraces") as one:
            yield one
    except subprocess.CalledProcessError as fault:
        pytest.skip(f"pip reaches no index: the edge function's zip was NOT built and NOT tried: {fault}")


@pytest.fixture(scope="module")
def instances(stage: Stage) -> Iterator[list[Instance]]:
    """Several of them, each after its first call."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(contextlib.closing(Instance(stage))) for _ in range(INSTANCES)]
        assert [decided(one, stage.event(0)) for one in made] == [ADMITTED] * INSTANCES
        yield made


def decided(instance: Instance, event: object) -> str:
    """Let an instance handle it until the state was read in time."""
    ends = time.monotonic() + 30
    while (said := instance.handle(event)) == UNAVAILABLE and time.monotonic() < ends:
        time.sleep(0.05)
    return said


def test_instances_admit_exactly_the_limit(stage: Stage, instances: list[Instance]) -> None:
    """Instances admit the limit together; only a call that was refused as unavailable may cost one more."""
    now = int(time.time())
    event = stage.event_of(str(stage.verbs.exchange(stage.verbs.subject_token("build-1", now), "few", now)))
    with ThreadPoolExecutor(INSTANCES) as pool:
        every = pool.map(lambda one: [one.handle(event) for _ in range(EACH)], instances)
        said = Counter(answer for answers in every for answer in answers)
    assert set(said) <= {ADMITTED, USED_UP, UNAVAILABLE}
    assert said[ADMITTED] <= FEW <= said[ADMITTED] + said[UNAVAILABLE]


@pytest.mark.parametrize("scope", SCOPES)
def test_no_instance_admits_what_is_revoked(stage: Stage, instances: list[Instance], scope: str) -> None:
    """No call that begins after the acknowledgement goes on, at whichever instance, and some before it did."""
    now = int(time.time())
    token = str(stage.verbs.exchange(stage.verbs.subject_token("build-2", now), "ci", now))
    sub = f"{ISSUER}|sub:build-2"
    targets = {"everything": "*", "issuer": ISSUER, "key": "openai", "grant": "ci", "principal": sub}
    over, calls = threading.Event(), list[tuple[float, str]]()

    def call(instance: Instance) -> None:
        while not over.is_set():
            begun = time.monotonic()
            calls.append((begun, instance.handle(stage.event_of(token))))

    def wait(holds: int) -> None:
        ends = time.monotonic() + 30
        while len(calls) < holds and time.monotonic() < ends:
            time.sleep(0.001)
        assert len(calls) >= holds

    with ThreadPoolExecutor(INSTANCES) as pool:
        running = [pool.submit(partial(call, one)) for one in instances]
        try:
            wait(5 * INSTANCES)
            revocation = samples.revocation(scope, targets.get(scope, jti_of(token)), at=now)
            stage.control.revoke(revocation, samples.event("revocation.made", at=now))
            acknowledged = time.monotonic()
            wait(len(calls) + 5 * INSTANCES)
        finally:
            over.set()
        for one in running:
            one.result()
    assert stage.control.restore(revocation.id, "tester", samples.event("revocation.lifted", at=now))
    after = Counter(said for begun, said in calls if begun > acknowledged)
    assert set(after) <= {REVOKED, UNAVAILABLE}
    assert after[REVOKED]
    assert Counter(said for begun, said in calls if begun <= acknowledged)[ADMITTED]
