from __future__ import annotations

from typing import Any

import pytest

from infra.preflight import stacks
from infra.preflight.finding import Finding
from tests.infra.preflight.answering import PROD, Answering, stack

ALL = {*stacks.HOME, "edge", "artefacts@us-east-1", "logs@us-east-1", "watch@us-east-1"}


def looked(aws: Answering) -> tuple[list[Finding], set[str] | None]:
    """Return what is found, and which stacks exist."""
    found: list[Finding] = []
    running = stacks.findings(PROD, aws)
    while True:
        try:
            found.append(next(running))
        except StopIteration as end:
            return found, end.value


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        ("ROLLBACK_COMPLETE", "delete-stack --stack-name keybroker-prod-keys --region eu-central-1"),
        ("DELETE_FAILED", "delete-stack"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
        ("UPDATE_IN_PROGRESS", "wait until that has ended"),
    ],
)
def test_a_stack_that_cannot_be_updated_stops(status: str, cure: str) -> None:
    """A stack that a deployment cannot update stops it, with the command that helps."""
    aws = Answering(cloudformation__describe_stacks__keybroker_prod_keys=stack(status))
    (found,), existing = looked(aws)
    assert (found.stops, cure in found.text, existing) == (True, True, {"keys"})


@pytest.mark.parametrize(
    "status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"]
)
def test_a_stack_that_can_be_updated_passes(status: str) -> None:
    assert looked(Answering(cloudformation__describe_stacks=stack(status))) == ([], ALL)


@pytest.mark.parametrize(
    ("answer", "existing", "said"),
    [
        ({}, (), "is left without its stack"),
        ({}, ("artefacts", "artefacts@us-east-1"), ""),
        ("An error occurred (403) when calling the HeadBucket operation: Forbidden", (), "is another account's"),
        ("An error occurred (404) when calling the HeadBucket operation: Not Found", (), ""),
        ("An error occurred (404): Not Found", ("artefacts", "artefacts@us-east-1"), "is gone: delete that stack"),
    ],
)
def test_a_bucket_is_free_or_ours(answer: Any, existing: tuple[str, ...], said: str) -> None:  # noqa: ANN401  any JSON, or an error
    """The name of each bucket is free, or the bucket is this account's and its stack's."""
    aws = Answering(s3api__head_bucket=answer)
    found = [one.text for one in stacks.buckets(PROD, aws, "111122223333", set(existing))]
    assert [said in text for text in found] == ([True, True] if said else [])
    assert all("--expected-bucket-owner" in arguments for arguments in aws.asked)


def test_names_that_are_left_stop() -> None:
    """A table or function that an earlier stack left stops: the new stack could not take its name."""
    aws = Answering(dynamodb__describe_table={}, lambda__get_function_configuration={})
    found = [one.text for one in stacks.leftovers(PROD, aws, set())]
    assert [text.partition(" is left")[0] for text in found] == [
        *(f"the table keybroker-prod-{name}" for name in stacks.TABLES),
        "the function keybroker-prod-edge",
    ]
    assert list(stacks.leftovers(PROD, aws, ALL)) == []
