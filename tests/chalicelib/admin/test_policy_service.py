from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.admin import policy_service as administer
from chalicelib.admin.policy_service import REPLAY_LIMIT, PolicyRefused, Sent
from chalicelib.audit import Event
from chalicelib.errors import Refusal, Unavailable
from chalicelib.issuers.registry import Issuer
from chalicelib.policy import lint
from chalicelib.policy.compile import InstallationRules
from chalicelib.tokens.jwk import VerifyingKey
from local.sqlite.control import SqliteControl
from local.sqlite.ledger import SqliteLedger
from local.sqlite.state_file import StateFile
from tests.parts import CI, DIALECT, GRANTS, ISSUERS, NOW, SUB, Parts, grant, mint

TEXT = ISSUERS + GRANTS
UNWISE = grant(to="{issuer: ci, claims: {ref: refs/heads/main}}")


def sent(text: str, *allow: str) -> Sent:
    return Sent(text, "keybroker.yaml", allow)


def refused(text: str, *allow: str) -> PolicyRefused:
    with pytest.raises(PolicyRefused) as caught:
        administer.validate(sent(text, *allow), DIALECT)
    return caught.value


def explained(parts: Parts, **fields: object) -> dict[str, Any]:
    return administer.explained(fields, parts.control, DIALECT, parts.broker().keys, NOW)


# what is sent


def test_a_policy_is_sent_as_text_with_its_file_s_name_and_rules_to_pass_over() -> None:
    assert administer.read({"text": "x"}) == Sent("x", "keybroker.yaml", ())
    fields = {"text": "x", "file": "a.yaml", "allow": ["covered", "unpinned"]}
    assert administer.read(fields) == Sent("x", "a.yaml", ("covered", "unpinned"))


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        "x",
        {},
        {"text": 1},
        {"text": "x", "file": None},
        {"text": "x", "file": "x" * 1025},
        {"text": "x", "allow": "covered"},
        {"text": "x", "allow": None},
        {"text": "x", "allow": ["unknown"]},
        {"text": "x", "allow": [1]},
        {"text": "x", "allow": [[]]},
        {"text": "x", "allow": [{}]},
    ],
    ids=str,
)
def test_what_is_sent_otherwise_is_told_what_is_wanted(fields: object) -> None:
    with pytest.raises(Refusal) as caught:
        administer.read(fields)
    one = caught.value
    assert (one.reason, one.error, one.status) == ("malformed_request", "invalid_request", 400)
    assert one.description == f"text, file, allow (a list of {', '.join(lint.RULES)})"


def test_every_fault_is_listed_with_its_place() -> None:
    one = refused(grant(ttl="2h", scope="[x]", quota="{tokens: 1/hour}"))
    assert (one.reason, one.error, one.status, one.description) == (
        "policy_invalid",
        "policy_invalid",
        422,
        "the policy has faults",
    )
    assert {error["field"] for error in one.errors} == {"grants.app.ttl", "grants.app.scope.0", "grants.app.quota"}
    assert all(set(error) >= {"file", "line", "field", "found", "allowed"} for error in one.errors)
    assert {error["file"] for error in one.errors} == {"keybroker.yaml"}


def test_what_is_unwise_is_refused_unless_it_is_allowed_by_name() -> None:
    one = refused(UNWISE)
    assert (one.reason, one.status, one.description) == ("policy_lint", 422, "the policy is unwise")
    assert [(error["rule"], error["field"]) for error in one.errors] == [("unpinned", "grants.app.to.claims")]
    assert (
        one.errors[0]["line"] == UNWISE.splitlines().index("    to: {issuer: ci, claims: {ref: refs/heads/main}}") + 1
    )
    assert administer.validate(sent(UNWISE, "unpinned"), DIALECT).grants
    assert refused(UNWISE, "covered").reason == "policy_lint"


# plan and apply


def test_a_plan_is_against_the_version_in_force(parts: Parts) -> None:
    version = parts.control.current().version
    found = administer.planned(sent(grant(ttl="10m")), parts.control, DIALECT)
    assert found["version"] == version
    assert (found["changes"][0]["change"], found["changes"][0]["name"]) == ("remove", "pods")
    assert parts.control.current().version == version


def test_apply_takes_the_version_that_was_planned_against_and_no_other(parts: Parts) -> None:
    version = parts.control.current().version
    stored = administer.apply(sent(TEXT), version, parts.control, DIALECT, parts.event())
    assert (stored.version, stored.text) == (version + 1, TEXT)
    with pytest.raises(Refusal) as caught:
        administer.apply(sent(TEXT), version, parts.control, DIALECT, parts.event())
    assert (caught.value.reason, caught.value.status) == ("policy_changed", 412)


def test_a_policy_with_faults_changes_nothing(parts: Parts) -> None:
    before = parts.control.current()
    for text in ("", UNWISE):
        with pytest.raises(PolicyRefused):
            administer.apply(sent(text), before.version, parts.control, DIALECT, parts.event())
    assert parts.control.current() == before


def test_a_narrower_scope_is_in_force_for_tokens_already_issued(parts: Parts) -> None:
    parts.apply(grant())
    token = parts.token()
    text = grant(scope='["GET:/v1/models"]')
    administer.apply(sent(text), parts.control.current().version, parts.control, DIALECT, parts.event())
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("out_of_scope", 403)
    assert parts.admit(token, "/v1/models", method="GET").grant == "app"


def test_a_removed_grant_is_in_force_for_tokens_already_issued(parts: Parts) -> None:
    token = parts.token()
    text = ISSUERS + "grants:\n" + GRANTS[GRANTS.index("  pods:") :]
    administer.apply(sent(text), parts.control.current().version, parts.control, DIALECT, parts.event())
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("grant_gone", 403)


def test_a_lower_limit_is_in_force_for_tokens_already_issued(parts: Parts) -> None:
    parts.apply(grant())
    token = parts.token()
    for _ in range(3):
        parts.admit(token)
    parts.apply(grant(quota="{tokens: 100/hour, calls: [4/minute, 1000/day]}"))
    parts.admit(token)
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("quota_calls", 429)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[StateFile]:
    state = StateFile.create(tmp_path / "empty.db")
    yield state
    state.close()


def test_before_the_first_policy_a_plan_adds_everything_to_version_0(empty: StateFile) -> None:
    found = administer.planned(sent(TEXT), SqliteControl(empty), DIALECT)
    assert (found["version"], {one["change"] for one in found["changes"]}) == (0, {"add"})


def test_before_the_first_policy_there_is_nothing_to_explain_or_replay(parts: Parts, empty: StateFile) -> None:
    none = SqliteControl(empty)
    asks: list[Callable[[], object]] = [
        lambda: administer.explained({"claims": {}}, none, DIALECT, parts.broker().keys, NOW),
        lambda: administer.replayed(sent(TEXT), none, DIALECT, SqliteLedger(empty)),
    ]
    for ask in asks:
        with pytest.raises(Refusal) as caught:
            ask()
        assert (caught.value.reason, caught.value.status) == ("no_policy", 404)


def test_a_policy_in_force_that_no_longer_parses_says_what_is_wrong_with_it(parts: Parts) -> None:
    without = InstallationRules({})
    looks: list[Callable[[], object]] = [
        lambda: administer.explained({"claims": {}}, parts.control, without, parts.broker().keys, NOW),
        lambda: administer.planned(Sent(_GENERIC, "new.yaml", ()), parts.control, without),
        lambda: administer.replayed(Sent(_GENERIC, "new.yaml", ()), parts.control, without, parts.ledger),
    ]
    for look in looks:
        with pytest.raises(PolicyRefused) as caught:
            look()
        assert {error["file"] for error in caught.value.errors} == {"the policy in force"}


_GENERIC = (ISSUERS + GRANTS[: GRANTS.index("  pods:")]).replace("preset: ci", f'url: "{CI}"')


# explain


def test_a_token_that_verifies_says_so(parts: Parts) -> None:
    found = explained(parts, token=mint())
    assert (found["verified"], found["unverified_because"]) == (True, "")
    assert (found["issuer"], found["principal"], found["admitted"]) == ("ci", SUB, ["app"])


def test_claims_alone_are_never_verified(parts: Parts) -> None:
    found = explained(parts, claims={"iss": CI, "repository_id": "1234"})
    assert (found["verified"], found["unverified_because"]) == (False, "claims were sent, not a token")


def test_explaining_neither_uses_a_token_up_nor_leaves_a_record(parts: Parts) -> None:
    token, before = mint(), len(parts.events())
    assert explained(parts, token=token)["verified"]
    assert explained(parts, token=token)["verified"]
    assert len(parts.events()) == before
    assert parts.exchange(token).access_token


def _forged() -> str:
    head, payload, signature = mint().split(".")
    return f"{head}.{payload}.{'A' * len(signature)}"


@pytest.mark.parametrize(
    ("token", "because", "issuer"),
    [
        ("", "not_three_segments", None),
        ("x", "not_three_segments", None),
        ("a" * 20_000, "too_large", None),
        (_forged(), "signature_wrong", "ci"),
        (mint(NOW - 400), "exp_past", "ci"),
        (mint(NOW + 100), "iat_future", "ci"),
        (mint(aud="other"), "aud_wrong", "ci"),
        (mint(aud=["keybroker", "other"]), "aud_wrong", "ci"),
        (mint(drop=("jti",)), "jti_missing", "ci"),
        (mint(exp=NOW + 86_400), "lifetime_too_long", "ci"),
        (mint(issuer="https://other.example"), "issuer_unknown", None),
        (mint(drop=("iss",)), "issuer_unknown", None),
    ],
    ids=lambda one: str(one)[:20],
)
def test_a_token_that_does_not_verify_says_why_and_is_never_called_verified(
    parts: Parts, token: str, because: str, issuer: str | None
) -> None:
    found = explained(parts, token=token)
    assert (found["verified"], found["unverified_because"], found["issuer"]) == (False, because, issuer)


def test_a_forged_token_still_says_what_its_claims_would_get(parts: Parts) -> None:
    assert explained(parts, token=_forged())["admitted"] == ["app"]


class _Unreachable:
    def find(self, issuer: Issuer, kid: str, now: int) -> VerifyingKey:  # noqa: ARG002  the port's signature
        raise Unavailable("jwks_unreachable")


def test_a_token_whose_issuer_is_out_of_reach_is_not_verified(parts: Parts) -> None:
    found = administer.explained({"token": mint()}, parts.control, DIALECT, _Unreachable(), NOW)
    assert (found["verified"], found["unverified_because"]) == (False, "jwks_unreachable")


def test_only_grants_for_a_key_are_asked_for(parts: Parts) -> None:
    assert explained(parts, token=mint(), key="anthropic")["grants"] == []


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        {},
        {"claims": [], "key": "openai"},
        {"token": 1},
        {"claims": {}, "token": "x"},
        {"claims": {}, "key": 1},
        {"claims": "x"},
    ],
    ids=str,
)
def test_what_cannot_be_explained_is_told_what_is_wanted(parts: Parts, fields: object) -> None:
    with pytest.raises(Refusal) as caught:
        administer.explained(fields, parts.control, DIALECT, parts.broker().keys, NOW)
    assert (caught.value.reason, caught.value.status) == ("malformed_request", 400)
    assert caught.value.description == "claims (an object) or token, optionally key"


# replay


def test_replay_looks_at_what_the_audit_recorded(parts: Parts) -> None:
    parts.exchange()
    with pytest.raises(Refusal):
        parts.exchange(mint(repository_id="5", repository_owner_id="1"))
    text = TEXT.replace('repository_owner_id: "9919"', 'repository_owner_id: "1"')
    found = administer.replayed(sent(text), parts.control, DIALECT, parts.ledger)
    assert (found["tried"], len(found["newly_admitted"]), len(found["newly_refused"])) == (2, 1, 1)
    assert found["newly_admitted"][0]["principal"] == f"{CI}|repository_id:5"
    assert found["newly_refused"][0]["principal"] == SUB


def test_replay_looks_at_the_newest_and_no_further(parts: Parts) -> None:
    claims = {"iss": CI, "aud": "keybroker"}
    for number in range(REPLAY_LIMIT // 200 + 2):
        template = Event(id="", at=NOW, kind="token.refused", request_id="r", key="openai", claims=claims)
        with parts.state.writing() as connection:
            connection.executemany(
                "INSERT INTO audit (at, kind, request_id, principal, grant_name, key, event) VALUES (?, ?, ?, '', '', '', ?)",
                [
                    (NOW, "token.refused", "r", json.dumps(replace(template, id=f"{number}-{one}").to_json()))
                    for one in range(200)
                ],
            )
    assert administer.replayed(sent(TEXT), parts.control, DIALECT, parts.ledger)["tried"] == REPLAY_LIMIT


def test_replay_of_a_policy_with_faults_is_refused(parts: Parts) -> None:
    with pytest.raises(PolicyRefused) as caught:
        administer.replayed(sent("x"), parts.control, DIALECT, parts.ledger)
    assert caught.value.reason == "policy_invalid"
