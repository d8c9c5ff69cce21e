from __future__ import annotations

import pytest

from infra.preflight import account
from infra.stage import Stage
from tests.infra.preflight.answering import DENIED, PROD, Answering


def limits(total: int, free: int) -> Answering:
    found = {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": free}
    return Answering(lambda__get_account_settings={"AccountLimit": found})


@pytest.mark.parametrize(
    ("total", "free", "existing", "stops"),
    [
        (1000, 1000, (), False),
        (1000, 310, (), False),
        (1000, 309, (), True),
        (1000, 109, ("public", "admin"), False),  # theirs are reserved already
        (10, 10, (), False),  # none are reserved
    ],
)
def test_100_executions_stay_unreserved(total: int, free: int, existing: tuple[str, ...], *, stops: bool) -> None:
    """AWS keeps 100 executions for what reserves none; a deployment that would take them stops."""
    found = list(account.concurrency(PROD, limits(total, free), existing))
    assert [one.stops for one in found] == ([True] if stops else [])


def test_a_stage_s_own_concurrency_counts() -> None:
    chosen = Stage("prod", "eu-central-1", {"public": {"Concurrency": "950"}})
    (found,) = account.concurrency(chosen, limits(1000, 1000), ())
    assert "too few for public 950, admin 10" in found.text


@pytest.mark.parametrize(
    ("answer", "text", "stops"),
    [
        ("An error occurred (InvalidParameterValue)", "xx-1 is not a region", True),
        ("Could not connect to the endpoint URL", "xx-1 is not a region", True),
        (DENIED, "whether xx-1 is enabled could not be checked", False),
        ({"Regions": [{"OptInStatus": "not-opted-in"}]}, "xx-1 is not enabled in this account", True),
    ],
)
def test_a_region_must_be_enabled(answer: object, text: str, *, stops: bool) -> None:
    (found,) = account.region(Answering(ec2__describe_regions=answer), "xx-1")
    assert (found.text.startswith(text), found.stops) == (True, stops)


def test_another_role_for_logs_is_not_replaced() -> None:
    """API Gateway has one role for an account's logs: another's is never replaced, and a missing one is never assumed."""
    kept = Stage("prod", "eu-central-1", {"admin": {"AccountLogRole": "false"}})
    others = Answering(apigateway__get_account={"cloudwatchRoleArn": "arn:aws:iam::111122223333:role/logs"})
    (found,) = account.log_role(PROD, others, ())
    assert (found.stops, "AccountLogRole" in found.text) == (True, True)
    assert list(account.log_role(kept, others, ())) == []
    assert [one.stops for one in account.log_role(kept, Answering(), ())] == [True]
    ours = Answering(apigateway__get_account={"cloudwatchRoleArn": "arn:aws:iam::1:role/keybroker-a-admin-LogRole-1"})
    assert list(account.log_role(PROD, ours, ())) == []
    assert list(account.log_role(PROD, others, {"admin"})) == []


def test_no_trail_is_a_warning() -> None:
    one_region = Answering(cloudtrail__describe_trails={"trailList": [{"IsMultiRegionTrail": False}]})
    assert [found.stops for found in account.trail(PROD, one_region)] == [False]


def test_a_trail_that_was_stopped_is_a_warning() -> None:
    """AWS lists a trail that logs nothing any more like any other, and then nothing is told either."""
    (found,) = account.trail(PROD, Answering(cloudtrail__get_trail_status={"IsLogging": False}))
    assert not found.stops
    assert "was stopped" in str(found)
    assert list(account.trail(PROD, Answering())) == []
