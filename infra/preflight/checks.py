"""Runs every check, in the order in which a deployment would fail for them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.aws_cli import AwsCli, AwsCommandError
from infra.preflight import account, certificates, parameters, stacks, tools
from infra.preflight.finding import Finding, one_line, tried
from infra.stage import EDGE_REGION, Stage


def findings(stage: Stage, aws: AwsCli, out: Path) -> Iterator[Finding]:
    """Yield what is missing. out: the folder with the packages."""
    yield from tools.findings(aws, out)
    yield from parameters.findings(stage)
    try:
        number = str(aws.look("sts", "get-caller-identity", "--region", stage.region)["Account"])
    except AwsCommandError as fault:
        yield Finding(f"no AWS identity answers in {stage.region}: {one_line(fault)}")
        return
    for region in dict.fromkeys((stage.region, EDGE_REGION)):
        yield from account.region(aws, region)
    existing = yield from stacks.findings(stage, aws)
    if existing is None:
        return
    yield from stacks.buckets(stage, aws, number, existing)
    checks = {
        "what is left of an earlier deployment": functools.partial(stacks.leftovers, stage, aws, existing),
        "the executions that can be reserved": functools.partial(account.concurrency, stage, aws, existing),
        "API Gateway's role for logs": functools.partial(account.log_role, stage, aws, existing),
        "CloudTrail": functools.partial(account.trail, stage, aws),
    }
    for what, check in checks.items():
        yield from tried(what, check)
    for stack in certificates.STACKS:
        yield from tried(f"the certificate of {stack}", functools.partial(certificates.findings, stage, aws, stack))


def passes(stage: Stage, aws: AwsCli, out: Path) -> bool:
    """Write each finding as a line to stderr, and return whether a deployment may start."""
    stops = 0
    for found in findings(stage, aws, out):
        stops += found.stops
        sys.stderr.write(f"{found}\n")
    if stops:
        sys.stderr.write(f"error: nothing was changed; mend the {stops} above first\n")
    return not stops
