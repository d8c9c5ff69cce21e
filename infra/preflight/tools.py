"""The tools: the `aws` command, Python, and what was built with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from infra import broker_zip
from infra.aws_cli import AwsCli, AwsCommandError
from infra.edge.wheels import PYTHON
from infra.preflight.finding import Finding, one_line

RUNTIMES = ("3.11", "3.12", "3.13", "3.14")
"""Pythons that Lambda runs; look at AWS's table of runtimes before adding one."""
ENDING = ("3.11", "3.12")
"""Those below the recommended one: 3.11 is deprecated from 30 June 2027."""


def findings(aws: AwsCli, out: Path) -> Iterator[Finding]:
    """Yield what is wrong with a tool."""
    try:
        said = aws.version()
    except AwsCommandError as fault:
        yield Finding(one_line(fault))
    else:
        if not said.startswith("aws-cli/2."):
            yield Finding(
                f"the `aws` command is {said.partition(' ')[0]}; docs/deploy.md asks for version 2", stops=False
            )
    if PYTHON not in RUNTIMES:
        yield Finding(f"Lambda runs no Python {PYTHON}: build with one of {', '.join(RUNTIMES)} (docs/deploy.md)")
    elif PYTHON in ENDING:
        yield Finding(
            f"Lambda's Python {PYTHON} ends soon (3.11 on 30 June 2027): build with 3.13 or newer (docs/deploy.md)",
            stops=False,
        )
    yield from _built(out)


def _built(out: Path) -> Iterator[Finding]:
    for name in (*(f"{door}/sam.yaml" for door in broker_zip.DOORS), "edge/edge.yaml"):
        if not (out / name).exists():
            yield Finding("nothing is built yet: run make package")
            return
        runtimes = set(re.findall(r"Runtime: (python[\d.]+)", (out / name).read_text("utf-8")))
        if runtimes != {f"python{PYTHON}"}:
            yield Finding(
                f"{out / name} was built for {', '.join(sorted(runtimes))}, this is {PYTHON}: run make package"
            )
