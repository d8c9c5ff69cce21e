"""The `aws` command, as the deployment uses it: each command is printed before it is run, or only printed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class AwsCommandError(Exception):
    """A command failed. The text is what it printed."""


class AwsCli:
    """Runs `aws`. dry_run: commands are only printed, and placeholders stand for their output."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.dry_run = dry_run

    def run(self, *arguments: str) -> str:
        """Run a command and return its output; raises AwsCommandError. It may take as long as CloudFormation does: up to an hour."""
        sys.stdout.write(f"$ aws {shlex.join(arguments)}\n")
        sys.stdout.flush()
        return "" if self.dry_run else self._done(arguments)

    def look(self, *arguments: str) -> Any:  # noqa: ANN401  any JSON
        """Run a command that only reads, unprinted, and return its answer; raises AwsCommandError."""
        try:
            return json.loads(self._done((*arguments, "--output", "json")) or "{}")
        except ValueError:
            raise AwsCommandError(f"aws {shlex.join(arguments)}: the answer is not JSON") from None

    def version(self) -> str:
        """Return what the command says it is, e.g. `aws-cli/2.31.0 Python/3.13.7 …`; raises AwsCommandError."""
        return self._done(("--version",)).strip()

    def _done(self, arguments: Sequence[str]) -> str:
        try:
            done = subprocess.run(["aws", *arguments], capture_output=True, text=True, timeout=3600, check=False)  # noqa: S603, S607  the user's own aws, found on the PATH
        except FileNotFoundError:
            raise AwsCommandError("the `aws` command was not found; see docs/deploy.md") from None
        if done.returncode:
            raise AwsCommandError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def account(self, region: str) -> str:
        """Return the account ID of the current identity."""
        named = ("--query", "Account", "--output", "text", "--region", region)
        answer = self.run("sts", "get-caller-identity", *named)
        return answer.strip() or "<account>"

    def regions(self, region: str) -> list[str]:
        """Return the regions that are enabled in every account; Lambda@Edge runs only in these."""
        every = ("--filters", "Name=opt-in-status,Values=opt-in-not-required")
        named = ("--query", "Regions[].RegionName", "--output", "json", "--region", region)
        answer = self.run("ec2", "describe-regions", *every, *named)
        return list(json.loads(answer)) if answer else ["<region>"]

    def stack_outputs(self, stack: str, region: str) -> Mapping[str, str]:
        """Return a stack's outputs; empty if the stack does not exist yet."""
        try:
            found = self.run("cloudformation", "describe-stacks", "--stack-name", stack, "--region", region)
        except AwsCommandError as failed:
            if "does not exist" not in str(failed):
                raise
            return {}
        if not found:
            return _PlaceholderOutputs(stack)
        outputs: list[dict[str, Any]] = json.loads(found)["Stacks"][0].get("Outputs", [])
        return {one["OutputKey"]: one["OutputValue"] for one in outputs}

    def deploy(
        self, stack: str, template: Path, region: str, parameters: Mapping[str, str], bucket: str = ""
    ) -> Mapping[str, str]:
        """Create or update a stack and return its outputs. bucket: for the template's zip, if it has one."""
        through: list[str] = []
        if bucket:
            packaged = template.with_suffix(".packaged.yaml")
            where = ("--s3-bucket", bucket, "--s3-prefix", stack, "--output-template-file", str(packaged))
            self.run("cloudformation", "package", "--template-file", str(template), *where, "--region", region)
            template = packaged
            through = ["--s3-bucket", bucket, "--s3-prefix", stack]  # a template over 51,200 bytes goes there, too
        command = ["cloudformation", "deploy", "--stack-name", stack, "--template-file", str(template)]
        command += ["--region", region, "--no-fail-on-empty-changeset"]
        command += ["--capabilities", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
        command += ["--tags", "application=keybroker"]
        if parameters:
            command += ["--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())]
        self.run(*command, *through)
        return self.stack_outputs(stack, region)


class _PlaceholderOutputs(dict[str, str]):
    """The outputs of a stack that does not exist, for a dry run."""

    def __init__(self, stack: str) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, name: str) -> str:
        return f"<{self._stack}.{name}>"
