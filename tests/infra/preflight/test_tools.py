from __future__ import annotations

from pathlib import Path

import pytest

from infra.aws_cli import AwsCli
from infra.preflight import tools
from tests.infra.preflight.answering import Answering


def said(aws: AwsCli, out: Path) -> list[str]:
    return [str(one) for one in tools.findings(aws, out)]


def test_an_old_aws_command_is_a_warning(tmp_path: Path) -> None:
    found = said(Answering("aws-cli/1.46.3 Python/3.11.7"), tmp_path)
    assert "warning: the `aws` command is aws-cli/1.46.3; docs/deploy.md asks for version 2" in found
    assert not any("aws-cli" in line for line in said(Answering("aws-cli/2.31.0 Python/3.13.7"), tmp_path))


def test_no_aws_command_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "error: the `aws` command was not found; see docs/deploy.md" in said(AwsCli(), tmp_path)


@pytest.mark.parametrize(
    ("python", "start"),
    [("3.10", "error: Lambda runs no Python 3.10"), ("3.12", "warning: Lambda's Python 3.12 ends"), ("3.13", "")],
)
def test_the_functions_python_is_one_of_lambda_s(
    python: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python that Lambda does not run stops; one that soon ends there is a warning."""
    monkeypatch.setattr(tools, "PYTHON", python)
    found = [line for line in said(Answering(), tmp_path) if "Lambda" in line]
    assert [line.startswith(start) for line in found] == ([True] if start else [])


def test_what_another_python_built_stops(tmp_path: Path) -> None:
    """A dist/ that another Python built, or that is not there, stops: Lambda could not load its wheels."""
    assert "error: nothing is built yet: run make package" in said(Answering(), tmp_path)
    for name in ("public/sam.yaml", "admin/sam.yaml", "edge/edge.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("      Runtime: python3.9\n")
    assert sum("was built for python3.9" in line for line in said(Answering(), tmp_path)) == 3
