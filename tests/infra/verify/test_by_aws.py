from __future__ import annotations

import json
from typing import Any

import pytest

from infra.verify import by_aws
from infra.verify.installed import FailedError, Installed, NotCheckedError
from tests.infra.preflight.answering import DENIED, PROD, Answering

KEYS = [{"OutputKey": f"SigningKey{one}", "OutputValue": f"arn:{one}"} for one in "AB"]


def installed(**answers: Any) -> Installed:  # noqa: ANN401  any JSON, or an error
    keys = {"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "Outputs": KEYS}]}
    aws = Answering(**{"cloudformation__describe_stacks": keys, **answers})
    return Installed(PROD, aws, {}, "", lambda: "", lambda _method, _url, headers, _body: headers)


def test_a_stack_that_was_rolled_back_fails() -> None:
    """The last change of every stack must have held: a roll-back leaves an older one in force."""
    by_aws.templates(installed())
    rolled = {
        "cloudformation__describe_stacks__keybroker_prod_edge": {
            "Stacks": [{"StackStatus": "UPDATE_ROLLBACK_COMPLETE"}]
        }
    }
    with pytest.raises(FailedError, match="keybroker-prod-edge in us-east-1 is UPDATE_ROLLBACK_COMPLETE"):
        by_aws.templates(installed(**rolled))


def test_a_line_of_denied_access_fails() -> None:
    by_aws.nothing_denied(installed(logs__filter_log_events={"events": []}))
    with pytest.raises(FailedError, match="1 lines with AccessDeniedException in /aws/lambda/keybroker-prod-public"):
        by_aws.nothing_denied(installed(logs__filter_log_events={"events": [{"message": "x"}]}))


def test_an_identity_that_signs_fails() -> None:
    """An identity that can sign is a failure, one that KMS denies a pass, and any other answer neither."""
    by_aws.caller_cannot_sign(installed(kms__sign=DENIED))
    with pytest.raises(FailedError, match="this identity signed with arn:A"):
        by_aws.caller_cannot_sign(installed(kms__sign={"Signature": "x"}))
    with pytest.raises(NotCheckedError, match="ThrottlingException"):
        by_aws.caller_cannot_sign(installed(kms__sign="An error occurred (ThrottlingException)"))


@pytest.mark.parametrize("decisions", [["implicitDeny"], ["explicitDeny", "implicitDeny"]])
def test_a_role_that_may_disable_a_key_fails(decisions: list[str]) -> None:
    """Each role must be denied for every key; no answer is no denial."""
    decided = [{"EvalDecision": one} for one in decisions]
    by_aws.no_role_disables_keys(installed(iam__simulate_principal_policy={"EvaluationResults": decided}))
    allowed = [*decided, {"EvalDecision": "allowed"}]
    for results in (allowed, []):
        with pytest.raises(FailedError, match="keybroker-prod-public"):
            by_aws.no_role_disables_keys(installed(iam__simulate_principal_policy={"EvaluationResults": results}))


def test_without_a_role_for_logs_it_fails() -> None:
    by_aws.role_for_logs(installed(apigateway__get_account={"cloudwatchRoleArn": "arn"}))
    with pytest.raises(FailedError, match="has no role for logs"):
        by_aws.role_for_logs(installed())


class _Refusing(Installed):
    """An administration that refuses with HTTP 403."""

    def ask(self, *_given: Any, **_named: Any) -> Any:  # noqa: ANN401  the real one's
        from keybroker.http_client import Response  # noqa: PLC0415  only here

        return Response(403, {"x-request-id": "abc"}, b"{}")


@pytest.mark.parametrize(("status", "holds"), [("403", True), ("200", False)])
def test_a_refusal_is_in_the_access_log(status: str, *, holds: bool) -> None:
    line = {"events": [{"message": json.dumps({"request_id": "abc", "status": status})}]}
    one = _Refusing(PROD, Answering(logs__filter_log_events=line), {"admin": ""}, "", str, lambda *_given: {})
    if holds:
        by_aws.access_log(one)
    else:
        with pytest.raises(FailedError, match="the line has status '200'"):
            by_aws.access_log(one)


def test_a_refusal_that_is_not_logged_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_aws, "WAIT", -1)
    one = _Refusing(PROD, Answering(logs__filter_log_events={}), {"admin": ""}, "", str, lambda *_given: {})
    with pytest.raises(FailedError, match="no line for request abc"):
        by_aws.access_log(one)
