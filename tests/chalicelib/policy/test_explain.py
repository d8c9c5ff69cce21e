from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib.errors import Refusal
from chalicelib.policy import compile as policy
from chalicelib.policy import explain, grants
from chalicelib.policy.compile import Policy
from chalicelib.policy.explain import Explanation
from tests.parts import CI, CLUSTER, DIALECT, GRANTS, ISSUERS, SUB

ROLE = "arn:aws:iam::123456789012:role/billing"
AWS_GRANT = f"""\
  billing:
    key: anthropic
    to: {{aws: "{ROLE}"}}
    scope: ["POST:/v1/messages"]
    quota: {{tokens: 1/hour, calls: 1/minute}}
"""
CLAIMS = {
    "iss": CI,
    "aud": "keybroker",
    "jti": "1",
    "repository": "octo-org/app",
    "repository_id": "1234",
    "repository_owner_id": "9919",
    "ref": "refs/heads/main",
    "event_name": "push",
}
VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "claims"


def parsed(text: str = ISSUERS + GRANTS + AWS_GRANT) -> Policy:
    return policy.parse(text, rules=DIALECT)


def explained(key: str | None = None, *, drop: str = "", **changes: object) -> Explanation:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if name != drop}
    return explain.explain(parsed(), claims, key)


def ci_grant(name: str, claims: dict[str, object], key: str = "openai") -> str:
    """One more grant for the issuer `ci`."""
    to = json.dumps({"issuer": "ci", "claims": claims})
    scope, quota = '["GET:/v1/models"]', "{tokens: 1/hour, calls: 1/minute}"
    return f"  {name}:\n    key: {key}\n    to: {to}\n    scope: {scope}\n    quota: {quota}\n"


def test_a_grant_that_admits_has_no_differences() -> None:
    """A grant that admits the claims has no differences."""
    found = explained()
    assert (found.issuer, found.principal, found.unusable, found.admitted) == ("ci", SUB, "", ("app",))
    assert found.to_json()["grants"] == [{"grant": "app", "key": "openai", "admitted": True, "differences": []}]


def test_differences_have_both_sides() -> None:
    """A grant that does not admit the claims names each claim that differs, with both values."""
    found = explained(ref="refs/heads/dev", repository_owner_id="1")
    assert found.admitted == ()
    assert found.to_json()["grants"][0]["differences"] == [
        {"claim": ["repository_owner_id"], "wanted": ["9919"], "found": "1"},
        {"claim": ["ref"], "wanted": ["refs/heads/main", "refs/tags/*"], "found": "refs/heads/dev"},
    ]


LIST_HINT = "a list: a grant matches it with {contains: VALUE}"


def test_a_list_for_a_value_says_contains() -> None:
    """A claim that is a list, where the grant wants a value, says how a grant matches a list."""
    found = explained(ref=["refs/heads/main", "x"])
    [difference] = found.to_json()["grants"][0]["differences"]
    assert (difference["found"], difference["hint"]) == (["refs/heads/main", "x"], LIST_HINT)
    [told] = found.verdicts[0].differences
    assert told.for_caller() == f"your claim 'ref' is ['refs/heads/main', 'x'] ({LIST_HINT})"


def test_contains_is_told_as_it_is_written() -> None:
    """What a grant wants a list to contain is told as the policy file has it, and a claim that is no list says so."""
    text = ISSUERS + GRANTS + ci_grant("roles", {"repository_id": "1234", "roles": {"contains": ["a", True]}})
    for roles, hint in ((["b"], ""), ("a", "no list: a grant matches it without `contains`"), (None, "")):
        one = explain.explain(policy.parse(text, rules=DIALECT), {**CLAIMS, "roles": roles})
        [verdict] = [each for each in one.to_json()["grants"] if each["grant"] == "roles"]
        wanted = [{"contains": "a"}, {"contains": True}]
        assert verdict["differences"] == [
            {"claim": ["roles"], "wanted": wanted, "found": roles, **({"hint": hint} if hint else {})}
        ]


def test_missing_claim() -> None:
    """A claim that is missing is found as None."""
    [verdict] = explained(drop="ref").verdicts
    assert [(one.claim, one.found) for one in verdict.differences] == [(("ref",), None)]


def test_refused_value_differs() -> None:
    """A value that is refused unless it is listed is a difference."""
    [verdict] = explained(event_name="pull_request_target").verdicts
    assert [(one.claim, one.wanted, one.found) for one in verdict.differences] == [
        (("event_name",), (), "pull_request_target")
    ]


def test_order_of_verdicts() -> None:
    """Admitting grants come first, then those with the fewest differences."""
    text = ISSUERS + GRANTS
    text += ci_grant("a-far", {"repository_owner_id": "1", "ref": "x", "repository_id": "2"})
    text += ci_grant("b-near", {"repository_owner_id": "9919", "ref": "x"})
    found = explain.explain(parsed(text), CLAIMS)
    assert [one.grant for one in found.verdicts] == ["app", "b-near", "a-far"]


def test_only_grants_of_the_issuer_are_tried() -> None:
    """Only grants of the claims' issuer are tried."""
    assert [one.grant for one in explained().verdicts] == ["app"]
    cluster = explain.explain(parsed(), {"iss": CLUSTER, "sub": "system:serviceaccount:prod:web", "aud": "keybroker"})
    assert (cluster.issuer, cluster.admitted) == ("cluster", ("pods",))
    assert cluster.principal == f"{CLUSTER}|sub:system:serviceaccount:prod:web"


def test_grants_for_one_key() -> None:
    """With a key, grants for other keys are left out."""
    assert explained("anthropic").verdicts == ()
    assert explained("openai").admitted == ("app",)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({}, "issuer None is not registered"),
        ({"iss": 1}, "issuer None is not registered"),
        ({"iss": "https://other.example"}, "issuer 'https://other.example' is not registered"),
        ({"iss": f"{CI}/"}, f"issuer '{CI}/' is not registered"),
    ],
)
def test_unregistered_issuer(claims: dict[str, object], why: str) -> None:
    """An issuer that the policy does not have is named."""
    found = explain.explain(parsed(), claims)
    assert (found.issuer, found.principal, found.unusable, found.verdicts) == (None, "", why, ())


@pytest.mark.parametrize(
    ("changes", "drop", "why"),
    [
        ({}, "jti", "claims missing: jti"),
        ({"event_name": ""}, "", "claims missing: event_name"),
        ({}, "repository_id", "claims missing: repository_id"),
        ({"repository_id": 1234}, "", "nothing identifies the subject (repository_id)"),
        ({"repository_id": "x" * 600}, "", "nothing identifies the subject (repository_id)"),
        ({"aud": "other"}, "", "aud is 'other', not 'keybroker'"),
        ({"aud": ["keybroker", "other"]}, "", "aud is ['keybroker', 'other'], not 'keybroker'"),
    ],
)
def test_unusable_claims(changes: dict[str, Any], drop: str, why: str) -> None:
    """Claims that no grant could admit are explained, and admitted by none."""
    found = explained(drop=drop, **changes)
    assert (found.unusable, found.admitted) == (why, ())
    assert found.verdicts


def test_claims_without_audience() -> None:
    """Claims without an audience are explained as if it were right."""
    assert explained(drop="aud").admitted == ("app",)
    assert explained(aud=["keybroker"]).admitted == ("app",)


def test_several_audiences_explained() -> None:
    """Claims with any of an issuer's audiences are admitted, and others are told all of them."""
    text = (ISSUERS + GRANTS).replace("audience: keybroker}", "audience: [new, keybroker]}")

    def one(aud: object) -> Explanation:
        return explain.explain(parsed(text), {**CLAIMS, "aud": aud})

    assert [one(aud).admitted for aud in ("new", "keybroker", ["new"], ["new", "keybroker"])] == [("app",)] * 3 + [()]
    assert one("other").unusable == "aud is 'other', not 'new' or 'keybroker'"
    assert one(["new", "keybroker"]).unusable == "aud is ['new', 'keybroker'], not 'new' or 'keybroker'"


def test_aws_principal_explained() -> None:
    """An AWS principal is explained by the claims that IAM gives."""
    found = explain.explain(parsed(), {"aws": ROLE, "aws_account": "123456789012"})
    assert (found.issuer, found.principal, found.admitted) == ("aws", ROLE, ("billing",))
    other = explain.explain(parsed(), {"aws": f"{ROLE}2", "aws_account": "123456789012"})
    assert [one.claim for one in other.verdicts[0].differences] == [("aws",)]


def test_claim_named_aws() -> None:
    """A token with a claim named `aws` is still of its issuer."""
    found = explained(aws=ROLE, aws_account="123456789012")
    assert (found.issuer, found.admitted) == ("ci", ("app",))


@pytest.mark.parametrize("file", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_explain_and_the_exchange_never_disagree(file: Path) -> None:
    """Explain admits exactly what the exchange admits."""
    claims = json.loads(file.read_text())
    claims = claims.get("claims", claims)
    ours = {**claims, "iss": CI}
    one = parsed(ISSUERS + "grants:\n" + ci_grant("app", {"repository_owner_id": ["9919", "65", "1"]}))
    found = explain.explain(one, ours)
    issuer = one.issuers["ci"]
    try:
        admitted = grants.choose(list(one.grants.values()), ours, issuer.refused, "openai").name
    except Refusal:
        admitted = ""
    assert [verdict.grant for verdict in found.verdicts if verdict.admitted] == ([admitted] if admitted else [])


def recorded(**changes: object) -> tuple[str, dict[str, object]]:
    return "openai", {**CLAIMS, **changes}


def test_replay_names_both_changes() -> None:
    """Replay names who is newly admitted and who is newly refused."""
    after = parsed(ISSUERS + GRANTS.replace('"9919"', '"7"') + AWS_GRANT)
    events = [recorded(), recorded(repository_id="7", repository_owner_id="7"), recorded(repository_owner_id="8")]
    found = explain.replay(parsed(), after, [*events, *events]).to_json()
    assert found == {
        "tried": 3,
        "newly_admitted": [{"principal": f"{CI}|repository_id:7", "key": "openai", "before": [], "after": ["app"]}],
        "newly_refused": [{"principal": SUB, "key": "openai", "before": ["app"], "after": []}],
        "newly_ambiguous": [],
    }


def test_replay_of_same_policy() -> None:
    """Replaying the same policy changes nothing."""
    found = explain.replay(parsed(), parsed(), [recorded(), recorded(ref="refs/heads/dev")])
    assert found.to_json() == {"tried": 2, "newly_admitted": [], "newly_refused": [], "newly_ambiguous": []}


def test_replay_uses_recorded_key() -> None:
    """Replay asks for the key that the recorded caller asked for."""
    after = parsed(ISSUERS + GRANTS.replace("key: openai", "key: anthropic"))
    found = explain.replay(parsed(), after, [recorded(), ("anthropic", CLAIMS)])
    assert [(one.key, one.after) for one in found.newly_admitted] == [("anthropic", ("app",))]
    assert [(one.key, one.before) for one in found.newly_refused] == [("openai", ("app",))]


def test_replay_without_the_issuer() -> None:
    """Principals of an issuer that is removed are newly refused, by their old name."""
    text = ISSUERS.replace("  ci:      {preset: ci, audience: keybroker}\n", "") + "grants:\n"
    after = parsed(text + GRANTS[GRANTS.index("  pods:") :])
    assert [one.principal for one in explain.replay(parsed(), after, [recorded()]).newly_refused] == [SUB]


def test_newly_ambiguous() -> None:
    """Callers who would have to name the grant are newly ambiguous."""
    after = parsed(ISSUERS + GRANTS + ci_grant("too", {"repository_id": "1234"}))
    found = explain.replay(parsed(), after, [recorded()])
    assert [(one.before, one.after) for one in found.newly_ambiguous] == [(("app",), ("app", "too"))]
    assert (found.newly_admitted, found.newly_refused) == ((), ())


def test_aws_principals_are_replayed_too() -> None:
    """AWS principals are replayed like others."""
    after = parsed(ISSUERS + GRANTS + AWS_GRANT.replace("role/billing", "role/reports"))
    found = explain.replay(parsed(), after, [("anthropic", {"aws": ROLE, "aws_account": "123456789012"})])
    assert [one.principal for one in found.newly_refused] == [ROLE]
