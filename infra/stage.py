"""One installation, a stage: its names, where it is, and what was chosen for it in infra/stages/<stage>.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STACKS = ("logs", "public", "admin", "edge")
"""The stacks that parameters may be chosen for."""
EDGE_REGION = "us-east-1"
"""Where Lambda@Edge wants its function."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,12}")
_STAGES = Path(__file__).parent / "stages"


@dataclass(frozen=True, slots=True)
class Stage:
    """name: e.g. `prod`. region: its home. chosen: stack -> parameter -> value, where it is not the template's default."""

    name: str
    region: str
    chosen: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str, region: str, directory: Path = _STAGES) -> Stage:
        """Read what was chosen; raises ValueError that says what is wrong. region: where the file names none."""
        if not _NAME.fullmatch(name):
            raise ValueError(
                "a stage starts with a small letter: small letters, digits and hyphens, 13 of them at most"
            )
        file = directory / f"{name}.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if not isinstance(found, dict) or not found.keys() <= {"region", *STACKS}:
            raise ValueError(f"{file}: a JSON object with region, {', '.join(STACKS)} and no others")
        home = str(found.pop("region", region))
        if not home:
            raise ValueError("no region is chosen: set AWS_REGION, or write it into the stage's file")
        for stack, chosen in found.items():
            if not isinstance(chosen, dict) or not all(isinstance(value, str) for value in chosen.values()):
                raise ValueError(f"{file}: {stack} must be an object of texts")
        return cls(name, home, found)

    @property
    def prefix(self) -> str:
        """What every name of this installation begins with."""
        return f"keybroker-{self.name}"

    def stack(self, name: str) -> str:
        """Return a stack's name."""
        return f"{self.prefix}-{name}"

    def bucket(self, account: str, region: str) -> str:
        """Return the name of the bucket of infra/artefacts.yaml."""
        return f"{self.prefix}-artefacts-{account}-{region}"

    @property
    def edge_log_group(self) -> str:
        """The group that Lambda@Edge writes to, in each region that runs it."""
        return f"/aws/lambda/{EDGE_REGION}.{self.prefix}-edge"
