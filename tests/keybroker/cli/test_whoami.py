from __future__ import annotations

import json

from tests.keybroker.cli.keybroker_command import job, run
from tests.running import Running


def test_an_identity_token_is_never_shown(running: Running) -> None:
    """No part of an identity token is printed."""
    token = running.mint("3005")
    environ = {"KEYBROKER_ID_TOKEN": token}
    for arguments in (["whoami"], ["whoami", "--claims"], ["whoami", "--output", "json"]):
        done = run(*arguments, environ=environ)
        assert done.code == 0
        assert not [part for part in token.split(".") if part in done.out + done.err]


def test_json_claims_are_marked_unverified(running: Running) -> None:
    """With --output json the claims are marked as unverified."""
    said = json.loads(run("whoami", "--output", "json", environ=job(running)).out)
    assert said["source"] == "github-actions"
    assert said["unverified_claims"]["repository_id"] == "1234"


def test_the_audience_can_be_chosen(running: Running) -> None:
    """The audience can be chosen."""
    said = json.loads(run("whoami", "--claims", "--audience", "other", environ=job(running)).out)
    assert said["aud"] == "other"


def test_a_claim_is_escaped(running: Running) -> None:
    """A claim cannot control the terminal."""
    token = running.mint("3006", sub="\x1b[2Jroot")
    assert "\\x1b[2Jroot" in run("whoami", environ={"KEYBROKER_ID_TOKEN": token}).out


def test_an_end_with_a_fraction(running: Running) -> None:
    """An identity whose `exp` has a fraction is shown with the second in which it ends."""
    token = running.mint("3006", exp=1_795_000_200.25)
    assert "2026-11-18 11:10:00Z" in run("whoami", environ={"KEYBROKER_ID_TOKEN": token}).out


def test_aws_credentials_have_no_claims() -> None:
    """AWS credentials are an identity without claims."""
    done = run("whoami", environ={"AWS_ACCESS_KEY_ID": "AKIDUSER", "AWS_SECRET_ACCESS_KEY": "made-up"})
    assert (done.code, done.out.splitlines()[0]) == (0, "source    aws-sigv4")
