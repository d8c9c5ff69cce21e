"""The stacks as they are, and what an earlier deployment left under the same names."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from infra.aws_cli import AwsCli, AwsCommandError
from infra.preflight.finding import Finding, one_line
from infra.stage import EDGE_REGION, Stage

HOME = ("artefacts", "logs", "watch", "tables", "keys", "admin", "public", "watcher", "audit")
EDGE = ("artefacts", "logs", "watch", "edge")
TABLES = ("control", "counters", "ledger")
_DEAD = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
"""States of a stack that can only be deleted."""


def findings(stage: Stage, aws: AwsCli) -> Generator[Finding, None, set[str] | None]:
    """Yield why a stack cannot be created or updated; return those that exist, None if CloudFormation does not answer.

    Of a stack in both regions the name in us-east-1 is `<name>@us-east-1`.
    """
    existing = set()
    home = [(name, stage.region) for name in (*HOME, *(EDGE if stage.region == EDGE_REGION else ()))]
    edge = [] if stage.region == EDGE_REGION else [(name, EDGE_REGION) for name in EDGE]
    for name, region in dict.fromkeys((*home, *edge)):
        try:
            status = _status(stage.stack(name), region, aws)
        except AwsCommandError as fault:
            yield Finding(f"CloudFormation in {region} cannot be used: {one_line(fault)}")
            return None
        if status:
            existing.add(_key(stage, name, region))
            yield from _fault(stage.stack(name), region, status)
    return existing


def _key(stage: Stage, name: str, region: str) -> str:
    return name if region == stage.region or name == "edge" else f"{name}@{region}"


def _status(stack: str, region: str, aws: AwsCli) -> str:
    try:
        found = aws.look("cloudformation", "describe-stacks", "--stack-name", stack, "--region", region)
    except AwsCommandError as failed:
        if "does not exist" not in str(failed):
            raise
        return ""
    return str(found["Stacks"][0]["StackStatus"])


def _fault(stack: str, region: str, status: str) -> Iterator[Finding]:
    named = f"--stack-name {stack} --region {region}"
    if status in _DEAD:
        yield Finding(f"the stack {stack} is {status} and cannot be updated: aws cloudformation delete-stack {named}")
    elif status == "UPDATE_ROLLBACK_FAILED":
        yield Finding(f"the stack {stack} is {status}: aws cloudformation continue-update-rollback {named}")
    elif status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        yield Finding(f"the stack {stack} is being changed ({status}): wait until that has ended")


def buckets(stage: Stage, aws: AwsCli, account: str, existing: set[str]) -> Iterator[Finding]:
    """Yield that the name of a bucket is taken: bucket names are one list for all accounts."""
    for region in dict.fromkeys((stage.region, EDGE_REGION)):
        name = stage.bucket(account, region)
        ours = _key(stage, "artefacts", region) in existing
        try:
            aws.look("s3api", "head-bucket", "--bucket", name, "--expected-bucket-owner", account, "--region", region)
        except AwsCommandError as fault:
            if "404" in str(fault) or "Not Found" in str(fault):
                if ours:
                    yield Finding(
                        f"the bucket {name} of the stack {stage.stack('artefacts')} is gone: delete that stack"
                    )
                continue
            yield Finding(f"the bucket {name} is another account's, or may not be read: {one_line(fault)}")
            continue
        if not ours:
            yield Finding(f"the bucket {name} is left without its stack: empty and delete it")


def leftovers(stage: Stage, aws: AwsCli, existing: set[str]) -> Iterator[Finding]:
    """Yield what would make a stack's creation fail, since its name is taken."""
    if "tables" not in existing:
        for name in TABLES:
            table = f"{stage.prefix}-{name}"
            if _is_there(aws, "dynamodb", "describe-table", "--table-name", table, "--region", stage.region):
                yield Finding(
                    f"the table {table} is left without its stack: import it into one, or back it up and delete it"
                )
    function = f"{stage.prefix}-edge"
    looked = ("lambda", "get-function-configuration", "--function-name", function, "--region", EDGE_REGION)
    if "edge" not in existing and _is_there(aws, *looked):
        yield Finding(
            f"the function {function} is left from before: aws lambda delete-function --function-name {function} "
            f"--region {EDGE_REGION}, some hours after its distribution is gone"
        )


def _is_there(aws: AwsCli, *arguments: str) -> bool:
    try:
        aws.look(*arguments)
    except AwsCommandError as fault:
        if "ResourceNotFoundException" not in str(fault):
            raise
        return False
    return True
