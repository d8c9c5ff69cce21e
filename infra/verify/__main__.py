"""Goes through the table and prints what holds: `python -m infra.verify STAGE [--key KEY]`."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Iterator, Mapping

from infra.aws_cli import AwsCli, AwsCommandError
from infra.preflight.finding import one_line
from infra.stage import EDGE_REGION, Stage
from infra.verify import by_aws
from infra.verify.installed import FailedError, Installed, NotCheckedError
from infra.verify.rows import ROWS, Row
from keybroker import aws as signing
from keybroker.client import exchange_signature
from keybroker.errors import IdentityError, KeybrokerError, Refused

PASSED, FAILED, NOT_CHECKED = "pass", "FAIL", "-"


def outcomes(one: Installed) -> Iterator[tuple[Row, str, str]]:
    """Yield each row with how it went, and what was found or why it was not checked."""
    for row in ROWS:
        yield (row, *outcome(row, one))


def outcome(row: Row, one: Installed) -> tuple[str, str]:
    """Check one row."""
    if row.check is None:
        return NOT_CHECKED, row.by
    if row.key and not one.key:
        return NOT_CHECKED, "it takes a token: name a key that your AWS identity has a grant for, KEY=NAME"
    try:
        row.check(one)
    except FailedError as found:
        return FAILED, one_line(found)
    except (NotCheckedError, AwsCommandError, IdentityError) as why:
        return NOT_CHECKED, one_line(why)
    except KeybrokerError as fault:
        return FAILED, one_line(fault)
    return PASSED, row.why


def token(url: str, key: str, region: str) -> str:
    """Get a token as the caller's AWS identity; raises NotCheckedError if no grant admits it."""
    try:
        return exchange_signature(url, key, region=region).access_token
    except Refused as refused:
        if refused.status < 500:
            raise NotCheckedError(f"no token for {key} for this AWS identity: {one_line(refused)}") from None
        raise


def find(stage: Stage, aws: AwsCli, key: str, given: Mapping[str, str]) -> Installed:
    """Return the deployed stage; raises AwsCommandError if there is none. given: URLs to use in place of the stacks' own."""
    where = {"broker": ("public", stage.region), "admin": ("admin", stage.region), "edge": ("edge", EDGE_REGION)}
    urls = {
        name: given.get(name) or by_aws.outputs(aws, stage.stack(stack), region)["Url"]
        for name, (stack, region) in where.items()
    }
    get = functools.partial(token, urls["broker"], key, stage.region)
    return Installed(stage, aws, urls, key, get, functools.partial(signing.sign, region=stage.region))


def main(arguments: list[str]) -> int:
    """Check a deployed stage; 0 if no row fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.verify", description="Check a deployed stage on AWS.")
    parser.add_argument("stage")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", ""))
    parser.add_argument("--key", default="", help="a key that your AWS identity has a grant for")
    for name in ("broker", "edge", "admin"):
        parser.add_argument(f"--{name}", default="", help=f"the {name}'s URL (default: its stack's)")
    options = parser.parse_args(arguments)
    given = {name: getattr(options, name).rstrip("/") for name in ("broker", "edge", "admin")}
    try:
        one = find(Stage.read(options.stage, options.region), AwsCli(), options.key, given)
    except (AwsCommandError, OSError, ValueError) as fault:
        sys.stderr.write(f"error: {one_line(fault)}\n")
        return 1
    failed = 0
    for row, how, said in outcomes(one):
        failed += how == FAILED
        sys.stdout.write(f"{how:<4}  {row.name}{f': {said}' if said else ''}\n")
        sys.stdout.flush()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
