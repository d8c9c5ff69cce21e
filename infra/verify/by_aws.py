"""The rows that AWS itself answers, by the `aws` command and the caller's own rights."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from infra.aws_cli import AwsCli, AwsCommandError
from infra.preflight import stacks
from infra.preflight.finding import one_line
from infra.stage import EDGE_REGION
from infra.verify.installed import Installed, NotCheckedError, expect

WAIT = 60
"""Seconds until a line is in CloudWatch, at most."""
RECENT = 15 * 60
"""Seconds of logs that are searched."""
_DENIED = ("AccessDenied", "AccessDeniedException")


def templates(one: Installed) -> None:
    """Every stack is complete, and its last change was not rolled back."""
    named = [(name, one.stage.region) for name in stacks.HOME] + [(name, EDGE_REGION) for name in stacks.EDGE]
    bad = []
    for name, region in dict.fromkeys(named):
        stack = ("--stack-name", one.stage.stack(name), "--region", region)
        (found,) = one.aws.look("cloudformation", "describe-stacks", *stack)["Stacks"]
        if found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            bad.append(f"{one.stage.stack(name)} in {region} is {found['StackStatus']}")
    expect(holds=not bad, found=", ".join(bad))


def role_for_logs(one: Installed) -> None:
    """API Gateway has a role for its logs."""
    role = one.aws.look("apigateway", "get-account", "--region", one.stage.region).get("cloudwatchRoleArn")
    expect(holds=bool(role), found=f"API Gateway in {one.stage.region} has no role for logs")


def nothing_denied(one: Installed) -> None:
    """No function was refused by AWS lately. It comes after the rows that make the functions work."""
    since = int((time.time() - RECENT) * 1000)
    for group, region in (*_doors(one), (one.stage.edge_log_group, EDGE_REGION)):
        pattern = '"AccessDeniedException"'
        asked = ("--log-group-name", group, "--start-time", str(since), "--filter-pattern", pattern, "--region", region)
        found = one.aws.look("logs", "filter-log-events", *asked).get("events", [])
        expect(holds=not found, found=f"{len(found)} lines with AccessDeniedException in {group} ({region})")


def _doors(one: Installed) -> tuple[tuple[str, str], ...]:
    return tuple((f"/aws/lambda/{one.stage.prefix}-{door}", one.stage.region) for door in ("public", "admin"))


def access_log(one: Installed) -> None:
    """A refused call of the administration is a line of its access log."""
    refused = one.ask("GET", f"{one.urls['admin']}/admin/policy")
    request = refused.headers.get("x-request-id", "")
    expect(holds=refused.status == 403 and bool(request), found=f"HTTP {refused.status}, request id {request!r}")
    group = f"/aws/apigateway/{one.stage.prefix}-admin"
    asked = ("--log-group-name", group, "--filter-pattern", f'"{request}"', "--region", one.stage.region)
    ends = time.monotonic() + WAIT
    while not (found := one.aws.look("logs", "filter-log-events", *asked).get("events", [])):
        expect(holds=time.monotonic() < ends, found=f"no line for request {request} in {group} after {WAIT} s")
        time.sleep(5)
    line = json.loads(found[0]["message"])
    expect(holds=str(line.get("status")) == "403", found=f"the line has status {line.get('status')!r}")


def no_role_disables_keys(one: Installed) -> None:
    """None of the three roles may disable a signing key."""
    account = one.aws.look("sts", "get-caller-identity", "--region", one.stage.region)["Account"]
    for role in ("public", "admin", "edge"):
        arn = f"arn:aws:iam::{account}:role/{one.stage.prefix}-{role}"
        asked = ("--policy-source-arn", arn, "--action-names", "kms:DisableKey", "--resource-arns", *_signing_keys(one))
        found = one.aws.look("iam", "simulate-principal-policy", *asked)["EvaluationResults"]
        decided = {result["EvalDecision"] for result in found}
        expect(holds=bool(decided) and "allowed" not in decided, found=f"{arn}: {', '.join(sorted(decided))}")


def caller_cannot_sign(one: Installed) -> None:
    """The caller, whatever it administers, cannot sign with a signing key."""
    with tempfile.TemporaryDirectory() as name:
        digest = Path(name) / "digest"
        digest.write_bytes(bytes(32))
        asked = ("--message-type", "DIGEST", "--signing-algorithm", "ECDSA_SHA_256", "--message", f"fileb://{digest}")
        for key in _signing_keys(one):
            try:
                one.aws.look("kms", "sign", "--key-id", key, *asked, "--region", one.stage.region)
            except AwsCommandError as refused:
                if not any(code in str(refused) for code in _DENIED):
                    raise NotCheckedError(one_line(refused)) from None
            else:
                expect(holds=False, found=f"this identity signed with {key}")


def _signing_keys(one: Installed) -> tuple[str, str]:
    found = outputs(one.aws, one.stage.stack("keys"), one.stage.region)
    return found["SigningKeyA"], found["SigningKeyB"]


def outputs(aws: AwsCli, stack: str, region: str) -> Mapping[str, str]:
    """Return a stack's outputs; raises AwsCommandError if there is no such stack."""
    (found,) = aws.look("cloudformation", "describe-stacks", "--stack-name", stack, "--region", region)["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
