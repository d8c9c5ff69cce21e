"""`make destroy STAGE=…`: deletes broker, administration and edge. Tables, keys and logs stay; it prints how to remove them."""

from __future__ import annotations

import argparse
import os
import sys

from infra.aws_cli import AwsCli, AwsCommandError
from infra.stage import EDGE_REGION, Stage

_LEFT = """\
What is left, and how to remove it for good:
- the edge's function, once CloudFront has removed its replicas (some hours):
    aws lambda delete-function --function-name {prefix}-edge --region {edge_region}
- the provider keys, one secret each:
    aws secretsmanager list-secrets --filters Key=name,Values={prefix}/ --region {region}
    aws secretsmanager delete-secret --secret-id {prefix}/NAME --recovery-window-in-days 30 --region {region}
- tables and keys ({prefix}-tables, {prefix}-keys): turn off their protection, delete the stacks, then each table and
  key. Without the keys, no backup can be read and no issued token can be verified:
    aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {prefix}-tables --region {region}
    aws dynamodb update-table --no-deletion-protection-enabled --table-name {prefix}-control --region {region}
    aws kms schedule-key-deletion --pending-window-in-days 30 --key-id ID --region {region}
- what tells of changes ({prefix}-watch, in each region), which costs nothing
- log groups ({prefix}-logs; and {edge_log_group} in every region) and buckets ({prefix}-artefacts)
"""


def destroy(stage: Stage, aws: AwsCli) -> None:
    """Delete the stacks of edge, probe, minter, watcher, audit, broker and administration, the edge's first; raises AwsCommandError."""
    home = ("probe", "minter", "watcher", "audit", "public", "admin")
    elsewhere = (("probe", one) for one in stage.probe_regions)  # first: their role is the home region's
    for name, region in (("edge", EDGE_REGION), *elsewhere, *((one, stage.region) for one in home)):
        named = ("--stack-name", stage.stack(name), "--region", region)
        aws.run("cloudformation", "delete-stack", *named)
        aws.run("cloudformation", "wait", "stack-delete-complete", *named)


def main(arguments: list[str]) -> int:
    """Destroy a stage, whose name is given twice."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.destroy", description="Delete a stage's broker, administration and edge."
    )
    parser.add_argument("stage")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", ""))
    parser.add_argument("--confirm", default="", help="the stage's name again, to confirm")
    parser.add_argument("--show", action="store_true", help="print the commands without running them")
    options = parser.parse_args(arguments)
    try:
        stage = Stage.read(options.stage, options.region)
        if options.confirm != stage.name and not options.show:
            raise ValueError(
                f"this would refuse every caller of {stage.prefix} at once: to confirm, set CONFIRM={stage.name}"
            )
        destroy(stage, AwsCli(dry_run=options.show))
    except (AwsCommandError, OSError, ValueError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1
    named = {"prefix": stage.prefix, "region": stage.region, "edge_region": EDGE_REGION}
    sys.stdout.write(_LEFT.format(**named, edge_log_group=stage.edge_log_group))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
