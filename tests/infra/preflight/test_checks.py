"""What `make deploy` says before it starts, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import deploy
from infra.edge.wheels import PYTHON
from infra.preflight import checks
from infra.stage import Stage
from tests.infra.preflight.answering import ABSENT, DENIED, PROD, READING, Answering, stack


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Everything built, for this Python."""
    for name in ("public/sam.yaml", "admin/sam.yaml", "edge/edge.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"      Runtime: python{PYTHON}\n")
    return tmp_path


def stops(built: Path, aws: Answering, stage: Stage = PROD) -> list[str]:
    return [one.text for one in checks.findings(stage, aws, built) if one.stops]


def test_an_empty_account_passes(built: Path) -> None:
    """Where nothing is missing nothing stops, and every command only reads."""
    aws = Answering()
    assert checks.passes(PROD, aws, built)
    assert len(aws.asked) > 20
    assert all(arguments[1].startswith(READING) for arguments in aws.asked)


def test_a_finding_is_one_line_and_stops(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault is one line, and one that would fail the deployment stops it."""
    aws = Answering(cloudtrail__describe_trails={}, cloudformation__describe_stacks=stack("ROLLBACK_COMPLETE"))
    assert not checks.passes(PROD, aws, built)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if not line.startswith(("error: ", "warning: "))] == []
    assert any(line.startswith("warning: no trail in CloudTrail") for line in lines)
    assert lines[-1].startswith("error: nothing was changed; mend the ")


def test_without_an_identity_nothing_else_is_asked(built: Path) -> None:
    aws = Answering(sts__get_caller_identity="Unable to locate credentials.\nYou can configure them.")
    assert stops(built, aws) == [
        "no AWS identity answers in eu-central-1: Unable to locate credentials. You can configure them."
    ]
    assert len(aws.asked) == 1


def test_a_check_that_is_not_allowed_is_a_warning(built: Path) -> None:
    """A permission that only a check needs does not stop a deployment, and the line names the check."""
    aws = Answering(cloudtrail__describe_trails=DENIED, apigateway__get_account=DENIED)
    found = [one for one in checks.findings(PROD, aws, built) if "could not be checked" in one.text]
    assert {one.text.partition(" could")[0] for one in found} == {"CloudTrail", "API Gateway's role for logs"}
    assert not any(one.stops for one in found)


def test_us_east_1_must_answer(built: Path) -> None:
    """An organization that denies us-east-1 stops the deployment, which would fail there half way."""
    aws = Answering(cloudformation__describe_stacks__us_east_1="explicit deny in a service control policy")
    assert stops(built, aws) == [
        "CloudFormation in us-east-1 cannot be used: explicit deny in a service control policy"
    ]


def test_a_home_in_us_east_1_is_asked_once(built: Path) -> None:
    aws = Answering(cloudformation__describe_stacks=ABSENT)
    assert stops(built, aws, Stage("prod", "us-east-1")) == []
    asked = [arguments for arguments in aws.asked if arguments[1] == "describe-stacks"]
    assert len(asked) == len({arguments[3] for arguments in asked}) == 10


def test_a_fault_ends_make_deploy(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make deploy` ends with 1 and has run nothing; `CHECK=1` runs nothing even where nothing is missing."""
    asked = Answering(sts__get_caller_identity="expired")
    monkeypatch.setattr(deploy, "AwsCli", lambda **_named: asked)
    arguments = ["prod", "--region", "eu-central-1", "--out", str(built)]
    assert deploy.main(arguments) == 1
    monkeypatch.setattr(deploy, "AwsCli", lambda **_named: Answering())
    monkeypatch.setattr(deploy.Deployment, "run", lambda _self: pytest.fail("it was deployed"))
    assert deploy.main([*arguments, "--check"]) == 0
