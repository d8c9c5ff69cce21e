"""A stage, i.e. one installation: its names, its region, and its parameters in infra/stages/<stage>.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STACKS = ("logs", "watch", "tables", "keys", "public", "admin", "edge", "watcher", "audit", "probe", "minter")
"""The stacks whose parameters a stage's file may set."""
EDGE_REGION = "us-east-1"
"""The region that Lambda@Edge requires."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,12}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_STAGES = Path(__file__).parent / "stages"


@dataclass(frozen=True, slots=True)
class Stage:
    """name: e.g. `prod`. region: the home region. parameters: by stack and name, those that differ from the template's defaults."""

    name: str
    region: str
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    probe_regions: tuple[str, ...] = ()
    """Regions beside the home region from which a probe measures, too."""

    @classmethod
    def read(cls, name: str, region: str, directory: Path = _STAGES) -> Stage:
        """Read a stage's file; raises ValueError that says what is wrong. region: used unless the file has one."""
        if not _NAME.fullmatch(name):
            raise ValueError(
                "a stage's name has 1 to 13 lower-case letters, digits and hyphens, starting with a letter"
            )
        file = directory / f"{name}.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if not isinstance(found, dict) or not found.keys() <= {"region", "probe_regions", *STACKS}:
            raise ValueError(
                f"{file}: must be a JSON object with no members but region, probe_regions, {', '.join(STACKS)}"
            )
        home = str(found.pop("region", region))
        probes = found.pop("probe_regions", [])
        if not home:
            raise ValueError("no region: set AWS_REGION, or `region` in the stage's file")
        for stack, parameters in found.items():
            if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
                raise ValueError(f"{file}: {stack} must be an object of strings")
        if not isinstance(probes, list) or not all(isinstance(one, str) and _REGION.fullmatch(one) for one in probes):
            raise ValueError(f'{file}: probe_regions must be a list of regions, such as ["ap-southeast-1"]')
        if probes and found.get("probe", {}).get("Enabled") != "true":
            raise ValueError(f'{file}: probe_regions need {{"probe": {{"Enabled": "true"}}}}')
        return cls(name, home, found, tuple(one for one in dict.fromkeys(probes) if one != home))

    @property
    def prefix(self) -> str:
        """The prefix of every name."""
        return f"keybroker-{self.name}"

    def stack(self, name: str) -> str:
        """Return a stack's name."""
        return f"{self.prefix}-{name}"

    def bucket(self, account: str, region: str) -> str:
        """Return the name of the bucket in infra/artefacts.yaml."""
        return f"{self.prefix}-artefacts-{account}-{region}"

    @property
    def edge_log_group(self) -> str:
        """The log group that Lambda@Edge writes to, in every region that runs the function."""
        return f"/aws/lambda/{EDGE_REGION}.{self.prefix}-edge"
