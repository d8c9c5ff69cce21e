"""The account: its regions, its executions, and what it has one of for everybody."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from infra.aws_cli import AwsCli, AwsCommandError
from infra.preflight import parameters
from infra.preflight.finding import Finding, one_line
from infra.stage import Stage

DOORS = ("public", "admin")
RESERVING = 400
"""Executions at once that an account must have before the doors reserve theirs; AWS keeps 100 for everything else."""
KEPT = 100
"""Executions that AWS lets nobody reserve."""


def region(aws: AwsCli, name: str) -> Iterator[Finding]:
    """Yield why a region cannot be used."""
    try:
        found = aws.look("ec2", "describe-regions", "--all-regions", "--region-names", name, "--region", name)
    except AwsCommandError as fault:
        stops = "InvalidParameterValue" in str(fault) or "Could not connect" in str(fault)
        text = f"{name} is not a region" if stops else f"whether {name} is enabled could not be checked"
        yield Finding(f"{text}: {one_line(fault)}", stops=stops)
        return
    if any(one.get("OptInStatus") == "not-opted-in" for one in found.get("Regions", [])):
        yield Finding(f"{name} is not enabled in this account: aws account enable-region --region-name {name}")


def concurrency(stage: Stage, aws: AwsCli, existing: Collection[str]) -> Iterator[Finding]:
    """Yield that the doors would reserve more executions than AWS lets them."""
    limit = aws.look("lambda", "get-account-settings", "--region", stage.region)["AccountLimit"]
    total, free = int(limit["ConcurrentExecutions"]), int(limit["UnreservedConcurrentExecutions"])
    wanted = {door: _reserved(stage, door, total) for door in DOORS if door not in existing}
    if any(wanted.values()) and free - sum(wanted.values()) < KEPT:
        said = ", ".join(f"{door} {number}" for door, number in wanted.items())
        yield Finding(
            f"{free} executions are unreserved in {stage.region} and AWS keeps {KEPT}, too few for {said}: "
            "request more, or set Concurrency in the stage's file"
        )


def _reserved(stage: Stage, door: str, total: int) -> int:
    default = parameters.of(door)["Concurrency"]["Default"] if total >= RESERVING else 0
    return int(float(stage.parameters.get(door, {}).get("Concurrency", default)))


def log_role(stage: Stage, aws: AwsCli, existing: Collection[str]) -> Iterator[Finding]:
    """Yield that the stack would take another role's place, or that there is none for its log."""
    if "admin" in existing:
        return
    role = aws.look("apigateway", "get-account", "--region", stage.region).get("cloudwatchRoleArn", "")
    sets = stage.parameters.get("admin", {}).get("AccountLogRole", "true") == "true"
    if role and sets and "keybroker" not in role:
        yield Finding(
            f"API Gateway in {stage.region} writes logs as {role}, for all of its APIs, and this would replace it: "
            'set {"admin": {"AccountLogRole": "false"}} in the stage\'s file'
        )
    if not role and not sets:
        yield Finding(
            f"API Gateway in {stage.region} has no role for logs, and the stage's file sets none: remove AccountLogRole"
        )


def trail(stage: Stage, aws: AwsCli) -> Iterator[Finding]:
    """Yield that nobody would be told of changes. A trail that was stopped is listed like one that logs."""
    named = ("--region", stage.region)
    trails = aws.look("cloudtrail", "describe-trails", *named).get("trailList", [])
    covering = [one["TrailARN"] for one in trails if one.get("IsMultiRegionTrail")]
    if any(aws.look("cloudtrail", "get-trail-status", "--name", one, *named).get("IsLogging") for one in covering):
        return
    fault = "logs: each that covers all regions was stopped" if covering else "covers all regions"
    yield Finding(f"no trail in CloudTrail {fault}, so nobody is told of changes (docs/deploy.md)", stops=False)
