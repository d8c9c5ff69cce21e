from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.parts import claims_of
from tests.running import POLICY, Answer, Running, call, start

UNWISE = POLICY.replace('claims: {repository_owner_id: "7"}', "claims: {ref: refs/heads/main}")
SMALL = POLICY[POLICY.index("  small:") :]
PROBLEM = {"type", "title", "status", "detail", "request_id"}


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with start() as one:
        yield one


@pytest.fixture
def running(served: Running) -> Running:
    """Keybroker with POLICY in force, whatever the test before has made of it."""
    assert apply(served, POLICY).status == 200
    return served


def administer(running: Running, method: str, path: str, body: object = None, etag: str | None = None) -> Answer:
    """One signed call, with If-Match; bytes are sent as they are."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"} if data is not None else {}
    if etag is not None:
        headers["if-match"] = etag
    request = AWSRequest(method, running.broker + path, data=data, headers=headers)
    keys = Credentials(running.admin["access_key_id"], running.admin["secret_access_key"])
    SigV4Auth(keys, "execute-api", running.admin["region"]).add_auth(request)
    return call(method, running.broker + path, data, dict(request.headers))


def etag(running: Running) -> str:
    return {name.lower(): value for name, value in administer(running, "GET", "/admin/policy").headers.items()}["etag"]


def apply(running: Running, text: str, at: str | None = None, **more: object) -> Answer:
    """Put a policy in force in place of the one that is."""
    return administer(running, "PUT", "/admin/policy", {"text": text, **more}, at or etag(running))


def problem(answer: Answer, status: int, title: str) -> dict[str, Any]:
    """Return the body of a refusal, which is RFC 9457's."""
    assert (answer.status, answer.json["title"], answer.json["status"]) == (status, title, status), answer
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == headers["x-request-id"]
    assert set(answer.json) <= PROBLEM | {"errors"}
    return dict(answer.json)


def events(running: Running, kind: str) -> list[dict[str, Any]]:
    return list(running.administer("GET", f"/admin/audit?kind={kind}").json["items"])


# GET and PUT /admin/policy


def test_get_policy(running: Running) -> None:
    """The policy in force is returned as it was sent, with its version as ETag."""
    answer = administer(running, "GET", "/admin/policy")
    assert answer.status == 200
    assert answer.headers["etag"] == f'"{answer.json["version"]}"'
    assert answer.json["text"] == POLICY
    assert answer.json["author"] == "arn:aws:iam::000000000000:user/practice-admin"
    assert abs(answer.json["at"] - time.time()) < 60


def test_apply_policy(running: Running) -> None:
    """Applying a policy puts it in force and writes one audit event."""
    before = etag(running)
    answer = apply(running, POLICY + "# one line more\n", before, file="git/keybroker.yaml")
    assert (answer.status, answer.json["version"]) == (200, int(before.strip('"')) + 1)
    assert answer.headers["etag"] == f'"{answer.json["version"]}"' == etag(running)
    assert administer(running, "GET", "/admin/policy").json["text"].endswith("# one line more\n")
    event = events(running, "policy.applied")[0]
    assert event["detail"] == {"file": "git/keybroker.yaml", "replaces": before.strip('"')}
    assert event["request_id"] == answer.headers["x-request-id"]
    assert event["actor"] == "arn:aws:iam::000000000000:user/practice-admin"


@pytest.mark.parametrize("given", [None, "", "1", "*", 'W/"1"', '"x"', '"1", "2"', '"9999999999"', '"-1"'])
def test_apply_needs_if_match(running: Running, given: str | None) -> None:
    """Without a valid If-Match nothing is applied."""
    before = etag(running)
    answer = administer(running, "PUT", "/admin/policy", {"text": POLICY}, given)
    assert "If-Match" in problem(answer, 428, "precondition_required")["detail"]
    assert etag(running) == before


def test_lost_race(running: Running) -> None:
    """Applying against a version that is no longer in force is a 412 and changes nothing."""
    old = etag(running)
    assert apply(running, POLICY + "# first\n", old).status == 200
    refused = apply(running, POLICY + "# second\n", old)
    detail = problem(refused, 412, "policy_changed")["detail"]
    assert f"is in force, not {old.strip(chr(34))}" in detail
    assert administer(running, "GET", "/admin/policy").json["text"] == POLICY + "# first\n"


def test_concurrent_apply(running: Running) -> None:
    """Of several concurrent applies exactly one succeeds."""
    for turn in range(3):
        old = etag(running)
        texts = [POLICY + f"# turn {turn}, writer {number}\n" for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda text, old=old: apply(running, text, old), texts))
        statuses = [one.status for one in answers]
        assert statuses.count(200) == 1
        assert set(statuses) <= {200, 412, 503}  # 503: the state file was busy, and nothing was changed
        now = administer(running, "GET", "/admin/policy").json
        assert now["text"] == texts[statuses.index(200)]
        assert now["version"] == int(old.strip('"')) + 1
        replaced = [one["detail"].get("replaces") for one in events(running, "policy.applied")]
        assert replaced.count(old.strip('"')) == 1


def test_faults_are_listed(running: Running) -> None:
    """A policy with faults is a 422 that lists each of them."""
    before = etag(running)
    text = POLICY.replace("quota: {tokens: [3/day], calls: [5/day]}", "ttl: 2h").replace(
        "key: openai", "key: opneai", 1
    )
    body = problem(apply(running, text, before, file="keybroker.yaml"), 422, "policy_invalid")
    assert body["detail"] == "the policy has faults"
    found = {error["field"]: error for error in body["errors"]}
    assert set(found) == {"grants.ci.key", "grants.small", "grants.small.ttl"}
    for error in body["errors"]:
        assert set(error) == {"file", "line", "field", "found", "allowed"}
        assert error["file"] == "keybroker.yaml"
    assert found["grants.ci.key"]["line"] == text.splitlines().index("    key: opneai") + 1
    assert "opneai" in found["grants.ci.key"]["found"]
    assert "openai" in found["grants.ci.key"]["allowed"]
    assert etag(running) == before


@pytest.mark.parametrize("text", ["", "[", "a: &x 1", "keys: {}\n", "\x00", "keys: " + "[" * 50])
def test_not_a_policy(running: Running, text: str) -> None:
    """Text that is no policy at all is a 422."""
    assert problem(apply(running, text), 422, "policy_invalid")["errors"]


def test_lint_over_http(running: Running) -> None:
    """A lint finding is a 422 unless its rule is allowed."""
    body = problem(apply(running, UNWISE), 422, "policy_invalid")
    assert body["detail"] == "the policy does not pass lint"
    [error] = body["errors"]
    assert (error["rule"], error["field"]) == ("unpinned", "grants.small.to.claims")
    assert error["line"] == next(n for n, line in enumerate(UNWISE.splitlines(), 1) if "refs/heads/main" in line)
    assert apply(running, UNWISE, allow=["unpinned"]).status == 200


@pytest.mark.parametrize(
    ("body", "status", "title"),
    [
        (b"", 400, "invalid_request"),
        (b"{", 400, "invalid_request"),
        (b"[]", 400, "invalid_request"),
        (b'{"text": "x", "text": "y"}', 400, "invalid_request"),
        (b'{"text": NaN}', 400, "invalid_request"),
        (b'{"text": "x", "allow": [[]]}', 400, "invalid_request"),
        (b'{"text": "x", "allow": ["everything"]}', 400, "invalid_request"),
        (b'{"text": "x", "alow": []}', 400, "invalid_request"),
        (b"[" * 100_000, 400, "invalid_request"),
        (b'{"text": "' + b"x" * (8 * 1024 * 1024) + b'"}', 413, "invalid_request"),
    ],
    ids=lambda one: str(one)[:24],
)
def test_malformed_body(running: Running, body: bytes, status: int, title: str) -> None:
    """A malformed body is a 400 at each route."""
    problem(administer(running, "PUT", "/admin/policy", body, etag(running)), status, title)
    for route in ("validate", "plan", "replay"):
        problem(administer(running, "POST", f"/admin/policy/{route}", body), status, title)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/policy"),
        ("PUT", "/admin/policy"),
        ("POST", "/admin/policy/validate"),
        ("POST", "/admin/policy/plan"),
        ("POST", "/admin/policy/explain"),
        ("POST", "/admin/policy/replay"),
    ],
)
def test_unsigned_requests(running: Running, method: str, path: str) -> None:
    """An unsigned request is a 403 at each route."""
    answer = call(method, running.broker + path, {"text": POLICY}, {"if-match": '"1"'})
    assert (answer.status, answer.json["detail"]) == (403, "the request is not signed")


# a change is in force at the next call


def test_narrower_grant_at_edge(running: Running) -> None:
    """A narrower grant applies from the next call on."""
    token = running.token("7601")
    models = "/openai/v1/models"
    bearer = {"authorization": f"Bearer {token}"}
    assert call("GET", running.edge + models, headers=bearer).status == 200
    assert running.complete(token).status == 200
    assert (
        apply(
            running, POLICY.replace('"POST:/v1/chat/completions", "POST:/v1/responses"', '"POST:/v1/responses"')
        ).status
        == 200
    )
    refused = running.complete(token)
    assert (refused.status, refused.json["error"]["code"]) == (403, "insufficient_scope")
    assert call("GET", running.edge + models, headers=bearer).status == 200
    assert "POST:/v1/chat/completions" not in claims_of(running.token("7601"))["scope"]


def test_removed_grant_at_edge(running: Running) -> None:
    """A removed grant applies from the next call on."""
    token = running.token("7602", owner="7")
    assert running.complete(token).status == 200
    assert apply(running, POLICY.replace(SMALL, "")).status == 200
    refused = running.complete(token)
    assert (refused.status, refused.json["error"]["code"]) == (403, "revoked")
    answer = running.exchange(running.mint("7602", repository_owner_id="7"))
    assert (answer.status, answer.json["error"]) == (400, "invalid_target")


def test_lower_limit_at_edge(running: Running) -> None:
    """A lower limit applies from the next call on."""
    token = running.token("7603", owner="7")
    assert [running.complete(token).status for _ in range(2)] == [200, 200]
    assert apply(running, POLICY.replace("calls: [5/day]", "calls: [2/day]")).status == 200
    assert running.complete(token).status == 429


def test_removed_key_at_edge(running: Running) -> None:
    """A removed key applies from the next call on."""
    token = running.token("7604", "anthropic")
    assert running.complete(token, "/anthropic/v1/messages").status == 200
    without = POLICY.replace("  anthropic: {provider: anthropic}\n", "")
    without = without[: without.index("  claude:")] + without[without.index("  small:") :]
    assert apply(running, without).status == 200
    assert running.complete(token, "/anthropic/v1/messages").status == 403


def test_revocation_outlives_grant(running: Running) -> None:
    """A revocation outlives the removal and return of its grant."""
    token = running.token("7605", owner="7")
    revocation = running.revoke("grant", "small")
    running.administer("DELETE", f"/admin/revocations/{revocation}")
    assert apply(running, POLICY.replace(SMALL, "")).status == 200
    assert apply(running, POLICY).status == 200
    assert running.complete(token).status == 401
    assert running.complete(running.token("7605", owner="7")).status == 200


# validate and plan


def test_validate_policy(running: Running) -> None:
    """Validating counts keys, issuers and grants, and changes nothing."""
    before = etag(running)
    answer = administer(running, "POST", "/admin/policy/validate", {"text": POLICY})
    assert (answer.status, answer.json) == (200, {"valid": True, "keys": 2, "issuers": 1, "grants": 3})
    assert etag(running) == before


def test_validate_faults(running: Running) -> None:
    """Validating lists faults and lint findings."""
    faults = problem(administer(running, "POST", "/admin/policy/validate", {"text": "x"}), 422, "policy_invalid")
    assert [(one["file"], one["line"]) for one in faults["errors"]] == [("keybroker.yaml", 1)]
    findings = problem(administer(running, "POST", "/admin/policy/validate", {"text": UNWISE}), 422, "policy_invalid")
    assert [one["rule"] for one in findings["errors"]] == ["unpinned"]
    allowed = {"text": UNWISE, "allow": ["unpinned"]}
    assert administer(running, "POST", "/admin/policy/validate", allowed).status == 200


def test_plan_order(running: Running) -> None:
    """A plan lists removals and narrowings first, and changes nothing."""
    before = etag(running)
    text = POLICY.replace(SMALL, SMALL.replace("small:", "another:")).replace('"POST:/v1/responses", ', "")
    text = text.replace('scope: ["POST:/v1/messages"]', 'scope: ["POST:/v1/messages", "GET:/v1/models"]')
    answer = administer(running, "POST", "/admin/policy/plan", {"text": text})
    assert [(one["what"], one["name"], one["change"]) for one in answer.json["changes"]] == [
        ("grant", "small", "remove"),
        ("grant", "ci", "narrow"),
        ("grant", "claude", "widen"),
        ("grant", "another", "add"),
    ]
    old, new = answer.json["changes"][1]["fields"]["scope"]
    assert set(old) - set(new) == {"POST:/v1/responses"}
    assert answer.headers["etag"] == before == f'"{answer.json["version"]}"' == etag(running)


def test_apply_a_plan(running: Running) -> None:
    """A plan can be applied with the ETag it came with."""
    planned = administer(running, "POST", "/admin/policy/plan", {"text": POLICY + "# x\n"})
    assert planned.json["changes"] == []
    assert apply(running, POLICY + "# x\n", planned.headers["etag"]).status == 200


# PUT, rehearsed


def rehearse(running: Running, body: object, at: str | None) -> Answer:
    return administer(running, "PUT", "/admin/policy?dry_run=true", body, at)


def test_apply_dry_run(running: Running) -> None:
    """A dry run of apply returns the plan and changes nothing."""
    before, events_before = etag(running), events(running, "policy.applied")
    answer = rehearse(running, {"text": POLICY.replace(SMALL, "")}, before)
    assert (answer.status, answer.headers["etag"]) == (200, before)
    planned = administer(running, "POST", "/admin/policy/plan", {"text": POLICY.replace(SMALL, "")}).json
    assert answer.json == {"dry_run": True, **planned}
    assert [(one["name"], one["change"]) for one in answer.json["changes"]] == [("small", "remove")]
    assert (etag(running), events(running, "policy.applied")) == (before, events_before)


@pytest.mark.parametrize(
    ("text", "at", "status", "title"),
    [
        (POLICY, None, 428, "precondition_required"),
        (POLICY, "*", 428, "precondition_required"),
        (POLICY, '"999999"', 412, "policy_changed"),
        (POLICY, '"0"', 412, "policy_changed"),
        ("x", "now", 422, "policy_invalid"),
        (UNWISE, "now", 422, "policy_invalid"),
    ],
)
def test_dry_run_refusals(running: Running, text: str, at: str | None, status: int, title: str) -> None:
    """A dry run is refused exactly as the apply would be."""
    before = etag(running)
    match = before if at == "now" else at
    rehearsed = problem(rehearse(running, {"text": text}, match), status, title)
    real = problem(administer(running, "PUT", "/admin/policy", {"text": text}, match), status, title)
    assert {**rehearsed, "request_id": ""} == {**real, "request_id": ""}
    assert etag(running) == before


def test_apply_after_dry_run(running: Running) -> None:
    """After a dry run, the same ETag applies the policy."""
    body = {"text": POLICY + "# rehearsed\n"}
    rehearsed = rehearse(running, body, etag(running))
    assert administer(running, "PUT", "/admin/policy", body, rehearsed.headers["etag"]).status == 200


# explain and replay


def explain(running: Running, **fields: object) -> dict[str, Any]:
    answer = administer(running, "POST", "/admin/policy/explain", fields)
    assert answer.status == 200, answer
    return dict(answer.json)


def test_explain_claims(running: Running) -> None:
    """Explaining claims shows, for each grant, what it wants and what was found."""
    claims = {
        "iss": running.issuer,
        "aud": "keybroker",
        "jti": "x",
        "repository_id": "7611",
        "repository_owner_id": "8",
        "event_name": "push",
    }
    found = explain(running, claims=claims, key="openai")
    assert (found["verified"], found["admitted"], found["principal"]) == (False, [], running.sub("7611"))
    assert {one["grant"]: one["differences"] for one in found["grants"]} == {
        "ci": [{"claim": ["repository_owner_id"], "wanted": ["9919"], "found": "8"}],
        "small": [{"claim": ["repository_owner_id"], "wanted": ["7"], "found": "8"}],
    }


def test_explain_token(running: Running) -> None:
    """Explaining a token verifies it and does not use it up."""
    token = running.mint("7612")
    found = explain(running, token=token)
    assert (found["verified"], found["unverified_because"]) == (True, "")
    assert set(found["admitted"]) == {"ci", "claude"}
    assert running.exchange(token).status == 200
    assert explain(running, token=token)["verified"]


def test_explain_forged_token(running: Running) -> None:
    """A forged token is never called verified."""
    head, payload, signature = running.mint("7613").split(".")
    forged = {
        f"{head}.{payload}.{'A' * len(signature)}": "signature_wrong",
        f"{head}.{payload}.": "signature_missing",
        f"{head}.{payload}": "not_three_segments",
        running.token("7613"): "issuer_unknown",
    }
    for token, because in forged.items():
        found = explain(running, token=token)
        assert (found["verified"], found["unverified_because"]) == (False, because)


def test_explain_expired_token(running: Running) -> None:
    """An expired token is explained as expired."""
    now = int(time.time())
    found = explain(running, token=running.mint("7614", iat=now - 900, exp=now - 600))
    assert (found["verified"], found["unverified_because"]) == (False, "exp_past")
    assert found["cause"].startswith("it expired ")
    assert set(found["admitted"]) == {"ci", "claude"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b'{"claims": {}, "token": "x"}', 400),
        (b'{"claims": {}, "token": null}', 400),
        (b'{"claims": {}, "kye": "openai"}', 400),
        (b'{"claims": {"a": NaN}}', 400),
        (b'{"claims": {"a": 1, "a": 2}}', 400),
        (b'{"token": "' + b"a" * 70_000 + b'"}', 413),
    ],
    ids=lambda one: str(one)[:24],
)
def test_explain_bad_request(running: Running, body: bytes, status: int) -> None:
    """A request that cannot be explained says why."""
    problem(administer(running, "POST", "/admin/policy/explain", body), status, "invalid_request")


def test_explain_odd_claims(running: Running) -> None:
    """Claims of any shape can be explained."""
    odd: dict[str, Any] = {"iss": running.issuer, "aud": {"x": [1, None]}, "repository_id": ["7"], "event_name": {}}
    assert explain(running, claims=odd)["verified"] is False
    deep: Any = 1
    for _ in range(490):
        deep = [deep]
    found = explain(running, claims={**odd, "repository_owner_id": deep})
    assert found["admitted"] == []


def test_replay_over_http(running: Running) -> None:
    """A replay lists who would be newly admitted and who newly refused."""
    assert running.token("7621")
    assert running.exchange(running.mint("7622", repository_owner_id="8")).status == 400
    text = POLICY.replace('"9919"', '"8"')
    answer = administer(running, "POST", "/admin/policy/replay", {"text": text})
    assert answer.status == 200
    refused = {one["principal"]: one for one in answer.json["newly_refused"]}
    admitted = {one["principal"]: one for one in answer.json["newly_admitted"]}
    assert refused[running.sub("7621")]["before"] == ["ci"]
    assert refused[running.sub("7621")]["after"] == []
    assert (admitted[running.sub("7622")]["before"], admitted[running.sub("7622")]["after"]) == ([], ["ci"])
    assert answer.json["tried"] >= 2
    unchanged = administer(running, "POST", "/admin/policy/replay", {"text": POLICY}).json
    assert (unchanged["newly_admitted"], unchanged["newly_refused"]) == ([], [])


# what a caller of the token endpoint learns


def test_denial_quotes_own_values(running: Running) -> None:
    """A denial quotes the caller's own values only."""
    secret = {"ref": "refs/heads/a-branch-nobody-may-guess", "repository_id": "31337"}
    to = f"claims: {json.dumps({**secret, 'repository_owner_id': '9919'})}"
    text = POLICY.replace('claims: {repository_owner_id: "9919"}', to, 1)
    assert apply(running, text).status == 200
    answer = running.exchange(running.mint("7631", ref="refs/heads/mine"), grant="ci")
    description = answer.json["error_description"]
    assert "your claim 'ref' is 'refs/heads/mine'" in description
    assert "your claim 'repository_id' is '7631'" in description
    for value in secret.values():
        assert value not in answer.body.decode()


def test_missing_claim(running: Running) -> None:
    """A missing claim is called missing."""
    text = POLICY.replace('{repository_owner_id: "9919"}', '{repository_owner_id: "9919", environment: production}', 1)
    assert apply(running, text).status == 200
    description = running.exchange(running.mint("7632"), grant="ci").json["error_description"]
    assert "your claim 'environment' is missing" in description
    assert "production" not in description
