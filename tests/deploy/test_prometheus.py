"""deploy/prometheus and deploy/grafana: every alarm rings, and nothing asks for a number that is not shown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.metrics.names import TABLE, in_prometheus

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "keybroker.yaml"
TESTS = RULES.with_name("keybroker.test.yaml")
PROMTOOL = shutil.which("promtool")
SHOWN = {
    **{one.shown: one for one in TABLE if one.kind != "histogram"},
    **{f"{one.family}_{end}": one for one in TABLE if one.kind == "histogram" for end in ("bucket", "sum", "count")},
}
OWN = {"alertname", "job", "instance", "le", "severity"}
"""Labels that Prometheus has itself."""


def alarms() -> dict[str, dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def expressions() -> Iterator[tuple[str, str]]:
    for name, rule in alarms().items():
        yield name, rule["expr"]
    for panel in json.loads((ROOT / "deploy" / "grafana" / "keybroker.json").read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "expression"), [pytest.param(*one, id=one[0]) for one in expressions()])
def test_it_asks_for_what_is_shown(where: str, expression: str) -> None:
    """Each metric of an expression is one that `/metrics` shows, and each label one that it has."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    found = set(
        re.findall(r"\b(?:keybroker|http_server|gen_ai)_\w+", re.sub(r"\{[^}]*\}|(?:by|on) \([^)]*\)", "", bare))
    )
    assert found <= SHOWN.keys(), where
    assert found or where == "KeybrokerDown"
    labels = {in_prometheus(label) for name in found for label in SHOWN[name].labels}
    inside = re.findall(r"(?:by|on) \(([^)]*)\)", bare) + re.findall(r"\{([^}]*)\}", bare)
    used = {name for one in inside for name in re.findall(r"\w+", one)}
    assert used <= labels | OWN, where


def test_each_alarm_has_a_section_and_a_test() -> None:
    """docs/operate.md has a section for each alarm, and promtool's tests make each ring."""
    page = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    tests = yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]
    rung = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert rung == alarms().keys() == set(re.findall(r"^### (Keybroker\w+)$", page, re.MULTILINE))
    for name, rule in alarms().items():
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{name.lower()}"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: apt-get install prometheus)")
@pytest.mark.parametrize(("what", "file"), [("check", RULES), pytest.param("test", TESTS, marks=pytest.mark.slow)])
def test_promtool(what: str, file: Path) -> None:
    """Prometheus' own tool takes the rules, and every alarm rings in its tests."""
    done = subprocess.run([str(PROMTOOL), what, "rules", file.name], cwd=file.parent, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
