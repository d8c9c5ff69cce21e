"""The main job, end to end, as its users see it."""

from __future__ import annotations

import openai

from tests.running import Running, call


def test_a_ci_job_streams_a_completion_and_never_holds_the_key(running: Running) -> None:
    token = running.token("1001")
    with openai.OpenAI(api_key=token, base_url=f"{running.edge}/openai/v1", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text
    seen = call("GET", f"{running.provider}/_seen").json["seen"][-1]["headers"]
    assert seen["authorization"].startswith("Bearer sk-practice-openai-")
    assert token not in str(seen)


def test_a_revoked_principal_is_refused_at_the_very_next_call(running: Running) -> None:
    token = running.token("1002")
    assert running.complete(token).status == 200
    revocation = running.revoke("principal", running.sub("1002"))
    refused = running.complete(token)
    assert (refused.status, refused.json["error"]["code"]) == (403, "revoked")
    assert running.exchange(running.mint("1002")).json["error"] == "invalid_grant"
    assert running.administer("DELETE", f"/admin/revocations/{revocation}").status == 200
    assert running.complete(token).status == 401
    assert running.complete(running.token("1002")).status == 200


def test_a_used_up_quota_says_when_it_opens_again(running: Running) -> None:
    token = running.token("1003", owner="7")
    assert [running.complete(token).status for _ in range(7)] == [200] * 5 + [429] * 2
    refused = running.complete(token)
    assert refused.json["error"]["code"] == "quota_exceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 86400


def test_refusal_is_found_by_its_request_id(running: Running) -> None:
    """Every refusal after verification can be found in the audit log by its request id."""
    refused = running.exchange(running.mint("1004", repository_owner_id="1"))
    assert refused.json["error"] == "invalid_target"
    found = running.administer("GET", f"/admin/audit?request_id={refused.headers['x-request-id']}").json["items"]
    assert [(one["kind"], one["reason"]) for one in found] == [("token.refused", "no_grant")]


def test_a_practice_token_needs_no_more_claims_than_the_grant_matches(running: Running) -> None:
    claims = {"aud": "keybroker", "repository_id": "1005", "repository_owner_id": "9919"}
    token = call("POST", f"{running.issuer}/_mint", claims).json["token"]
    assert running.exchange(token).status == 200


def test_a_practice_token_of_a_strangers_event_is_refused_as_githubs_is(running: Running) -> None:
    refused = running.exchange(running.mint("1006", event_name="pull_request_target"))
    assert refused.json["error"] == "invalid_target"
    assert "event_name" in refused.json["error_description"]
