"""The parameters in infra/stages/<stage>.json, beside what the templates say of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.preflight.finding import Finding
from infra.stage import Stage

OURS = frozenset(
    [
        "Prefix",
        "TablesKey",
        "ProviderKeysKey",
        "SigningKeyA",
        "SigningKeyB",
        "Url",
        "EdgeUrl",
        "HomeRegion",
        "BrokerHost",
        "BrokerPath",
        "Home",
        "EdgeFunction",
        "Topic",
        "DistributionId",
    ]
)
"""What `make deploy` finds out itself."""
LEAST_LIMIT = 10
"""The lowest limit of an address that WAF takes; 0 is ours, for none."""
_TEMPLATES = Path(__file__).resolve().parent.parent


class _Loader(yaml.SafeLoader):
    """Reads a template, without what its functions say."""


_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


@functools.cache
def of(stack: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the parameters of a stack's template, each with what it allows."""
    found: Mapping[str, Any] = yaml.load((_TEMPLATES / f"{stack}.yaml").read_text("utf-8"), _Loader)  # noqa: S506  a SafeLoader
    parameters: Mapping[str, Mapping[str, Any]] = found["Parameters"]
    return parameters


def findings(stage: Stage) -> Iterator[Finding]:
    """Yield what CloudFormation would refuse of a stage's file, or never see."""
    for stack, chosen in stage.parameters.items():
        known = of(stack).keys() - OURS
        for name, value in chosen.items():
            where = f"the stage's file: {stack}.{name}"
            if name in OURS:
                yield Finding(f"{where} is set by make deploy itself: remove it")
            elif name not in known:
                yield Finding(f"{where} is not a parameter; {stack} has {', '.join(sorted(known))}")
            elif fault := _fault(of(stack)[name], value):
                yield Finding(f"{where} is {value!r}: {fault}")
            elif name == "RequestsPerAddress" and 0 < float(value) < LEAST_LIMIT:
                yield Finding(f"{where} is {value!r}: WAF takes {LEAST_LIMIT} or more; 0 is for none")


def _fault(allowed: Mapping[str, Any], value: str) -> str:
    """Return why CloudFormation refuses a value, "" if it does not."""
    if "AllowedValues" in allowed and value not in map(str, allowed["AllowedValues"]):
        return f"allowed are {', '.join(map(str, allowed['AllowedValues']))}"
    if "AllowedPattern" in allowed and not re.fullmatch(allowed["AllowedPattern"], value):
        return str(allowed.get("ConstraintDescription", f"it must match {allowed['AllowedPattern']}"))
    if allowed["Type"] == "Number":
        return _fault_of_number(allowed, value)
    return ""


def _fault_of_number(allowed: Mapping[str, Any], value: str) -> str:
    if not re.fullmatch(r"-?\d+(\.\d+)?", value):
        return "it must be a number"
    least, most = allowed.get("MinValue"), allowed.get("MaxValue")
    if least is not None and float(value) < float(least):
        return f"{least} is the least"
    if most is not None and float(value) > float(most):
        return f"{most} is the most"
    return ""
