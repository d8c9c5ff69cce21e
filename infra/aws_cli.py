"""The `aws` command, as deploying uses it: every command that is run is shown first, and can be shown instead of run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class AwsFailed(Exception):  # noqa: N818  says what happened
    """A command failed; its text is what it said."""


class AwsCli:
    """Runs `aws`. shown_only: commands are shown and not run, and what they would answer is made up."""

    def __init__(self, *, shown_only: bool = False) -> None:
        self.shown_only = shown_only

    def run(self, *arguments: str) -> str:
        """Run a command and return what it writes; raises AwsFailed. It takes as long as CloudFormation takes."""
        sys.stdout.write(f"$ aws {shlex.join(arguments)}\n")
        sys.stdout.flush()
        if self.shown_only:
            return ""
        try:
            done = subprocess.run(["aws", *arguments], capture_output=True, text=True, timeout=3600, check=False)  # noqa: S603, S607  the person's own aws, wherever it is
        except FileNotFoundError:
            raise AwsFailed("there is no `aws` command here; see docs/deploy.md") from None
        if done.returncode:
            raise AwsFailed(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def account(self, region: str) -> str:
        """Return the account that this identity is of."""
        named = ("--query", "Account", "--output", "text", "--region", region)
        answer = self.run("sts", "get-caller-identity", *named)
        return answer.strip() or "<account>"

    def regions(self, region: str) -> list[str]:
        """Return the regions that every account has; Lambda@Edge runs in no others."""
        every = ("--filters", "Name=opt-in-status,Values=opt-in-not-required")
        named = ("--query", "Regions[].RegionName", "--output", "json", "--region", region)
        answer = self.run("ec2", "describe-regions", *every, *named)
        return list(json.loads(answer)) if answer else ["<region>"]

    def stack_outputs(self, stack: str, region: str) -> Mapping[str, str]:
        """Return a stack's outputs; none if there is no such stack yet."""
        try:
            found = self.run("cloudformation", "describe-stacks", "--stack-name", stack, "--region", region)
        except AwsFailed as failed:
            if "does not exist" not in str(failed):
                raise
            return {}
        if not found:
            return _MadeUp(stack)
        outputs: list[dict[str, Any]] = json.loads(found)["Stacks"][0].get("Outputs", [])
        return {one["OutputKey"]: one["OutputValue"] for one in outputs}

    def deploy(
        self, stack: str, template: Path, region: str, parameters: Mapping[str, str], bucket: str = ""
    ) -> Mapping[str, str]:
        """Create or update a stack and return its outputs. bucket: where the template's zip is put, if it has one."""
        if bucket:
            packaged = template.with_suffix(".packaged.yaml")
            where = ("--s3-bucket", bucket, "--s3-prefix", stack, "--output-template-file", str(packaged))
            self.run("cloudformation", "package", "--template-file", str(template), *where, "--region", region)
            template = packaged
        command = ["cloudformation", "deploy", "--stack-name", stack, "--template-file", str(template)]
        command += ["--region", region, "--no-fail-on-empty-changeset"]
        command += ["--capabilities", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
        command += ["--tags", "application=keybroker"]
        if parameters:
            command += ["--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())]
        self.run(*command)
        return self.stack_outputs(stack, region)


class _MadeUp(dict[str, str]):
    """Outputs of a stack that is not there."""

    def __init__(self, stack: str) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, name: str) -> str:
        return f"<{self._stack}.{name}>"
