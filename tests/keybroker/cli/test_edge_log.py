"""A refused call in the logs of CloudFront's function, over moto."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.session import Session
from moto import mock_aws

from keybroker.cli import edge_log
from keybroker.cli.command_error import CommandError

GROUP = "/aws/lambda/us-east-1.kb-edge"
NOW = int(time.time()) - 60
"""moto, as CloudWatch, takes no line that is old or of the future."""
REGIONS = ["eu-central-1", "us-east-1", "sa-east-1"]
ID = "JB6PxZ0m_9w=="
LINE = {"door": "edge", "reason": "revoked_key", "status": 403, "request_id": ID, "key": "openai", "principal": "sub"}


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three regions, and the function's log in two of them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    monkeypatch.setattr(edge_log, "_regions", lambda _session: REGIONS)
    with mock_aws():
        for region in REGIONS[:2]:
            logs(region).create_log_group(logGroupName=GROUP)
            logs(region).create_log_stream(logGroupName=GROUP, logStreamName="one")
        yield
        for region in REGIONS[:2]:  # moto keeps what it has where another test of this process has started it, too
            logs(region).delete_log_group(logGroupName=GROUP)


def logs(region: str) -> Any:  # noqa: ANN401  boto3's clients have no type here
    return boto3.client("logs", region, aws_access_key_id="made-up", aws_secret_access_key="made-up")


def write(region: str, *messages: str, at: int = NOW) -> None:
    events = [{"timestamp": at * 1000, "message": one} for one in messages]
    logs(region).put_log_events(logGroupName=GROUP, logStreamName="one", logEvents=events)


@pytest.mark.parametrize("region", REGIONS[:2])
def test_a_line_is_found_in_whichever_region(region: str) -> None:
    """The edge's line of that request is found, with what it says and when."""
    write(region, f"START RequestId: {ID}", json.dumps({**LINE, "request_id": "other", "of": ID}), json.dumps(LINE))
    looked = edge_log.find(GROUP, ID, NOW - 60, NOW + 60)
    assert looked.call is not None
    assert looked.call["at"] == NOW
    assert {name: looked.call[name] for name in LINE if name != "door"} == {
        k: v for k, v in LINE.items() if k != "door"
    }
    assert (looked.call["grant"], looked.call["under_way"]) == ("", False)


def test_where_nothing_is_found() -> None:
    """Without a line of that time, the regions that have such a log are named, and one that has none is no fault."""
    write("us-east-1", json.dumps(LINE), at=NOW - 600)
    assert edge_log.find(GROUP, ID, NOW - 60, NOW + 60) == edge_log.Looked(None, ("eu-central-1", "us-east-1"), {})


def test_a_region_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region in which the log may not be read is said to be unread, and does not stop the others."""
    made = edge_log._client

    def client(session: Session, region: str) -> Any:  # noqa: ANN401  as above
        found = made(session, region)
        if region == "us-east-1":
            error = found.exceptions.ClientError({"Error": {"Code": "AccessDeniedException"}}, "FilterLogEvents")

            def refuse(**_asked: object) -> None:
                raise error

            found.filter_log_events = refuse
        return found

    monkeypatch.setattr(edge_log, "_client", client)
    write("eu-central-1", json.dumps(LINE))
    assert edge_log.find(GROUP, ID, NOW - 60, NOW + 60).call is not None
    looked = edge_log.find(GROUP, "another", NOW - 60, NOW + 60)
    assert (looked.regions, looked.unread) == (("eu-central-1",), {"us-east-1": "AccessDeniedException"})


@pytest.mark.parametrize("odd", ['x" || $.a = "', "", "a b", "x" * 200])
def test_an_id_that_is_none_is_not_asked_for(odd: str) -> None:
    """What is no request id reaches no filter."""
    assert edge_log.find(GROUP, odd, NOW - 60, NOW + 60) == edge_log.Looked(None, (), {})


def test_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AWS credentials that is said, and no region is asked."""
    monkeypatch.setattr(Session, "get_credentials", lambda _self: None)
    with pytest.raises(CommandError, match="no AWS credentials"):
        edge_log.find(GROUP, ID, NOW - 60, NOW + 60)
