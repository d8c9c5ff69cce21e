"""`make destroy STAGE=…`: takes the doors away. What was decided, recorded and stored stays, and is said how to remove it."""

from __future__ import annotations

import argparse
import os
import sys

from infra.aws_cli import AwsCli, AwsFailed
from infra.stage import EDGE_REGION, Stage

_LEFT = """\
What is left, and how to remove it for good:
- the edge's function, once CloudFront has taken its replicas back (some hours):
    aws lambda delete-function --function-name {prefix}-edge --region {edge_region}
- provider keys, a secret each:
    aws secretsmanager list-secrets --filters Key=name,Values={prefix}/ --region {region}
    aws secretsmanager delete-secret --secret-id {prefix}/NAME --recovery-window-in-days 30 --region {region}
- tables and keys ({prefix}-tables, {prefix}-keys): switch their protection off, delete the stacks, then each table and
  key. Without the keys no backup can be read and no token was ever yours:
    aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {prefix}-tables --region {region}
    aws dynamodb update-table --no-deletion-protection-enabled --table-name {prefix}-control --region {region}
    aws kms schedule-key-deletion --pending-window-in-days 30 --key-id ID --region {region}
- log groups ({prefix}-logs; and {edge_log_group} in every region) and buckets ({prefix}-artefacts)
"""


def destroy(stage: Stage, aws: AwsCli) -> None:
    """Delete the stacks of the doors, the edge's first; raises AwsFailed."""
    for name, region in (("edge", EDGE_REGION), ("public", stage.region), ("admin", stage.region)):
        named = ("--stack-name", stage.stack(name), "--region", region)
        aws.run("cloudformation", "delete-stack", *named)
        aws.run("cloudformation", "wait", "stack-delete-complete", *named)


def main(arguments: list[str]) -> int:
    """Destroy the stage that the arguments name, twice."""
    parser = argparse.ArgumentParser(prog="python -m infra.destroy", description="Take a stage's doors away.")
    parser.add_argument("stage")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", ""))
    parser.add_argument("--confirm", default="", help="the stage's name again")
    parser.add_argument("--show", action="store_true", help="show the commands and run none")
    asked = parser.parse_args(arguments)
    try:
        stage = Stage.read(asked.stage, asked.region)
        if asked.confirm != stage.name and not asked.show:
            raise ValueError(f"every caller of {stage.prefix} would be refused at once: say CONFIRM={stage.name}, too")
        destroy(stage, AwsCli(shown_only=asked.show))
    except (AwsFailed, OSError, ValueError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1
    named = {"prefix": stage.prefix, "region": stage.region, "edge_region": EDGE_REGION}
    sys.stdout.write(_LEFT.format(**named, edge_log_group=stage.edge_log_group))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
