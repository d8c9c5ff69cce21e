from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.admin import policy_service
from chalicelib.admin.errors import PolicyRefused
from chalicelib.admin.policy_service import REFUSED_LIMIT, REPLAY_SECONDS, PolicyUpload
from chalicelib.audit import PAGE_LIMIT, Event
from chalicelib.errors import Refusal
from chalicelib.issuers.errors import FetchError, IssuerKeysUnavailable
from chalicelib.issuers.jwks import Jwks
from chalicelib.issuers.registry import Issuer
from chalicelib.policy import lint
from chalicelib.policy.compile import InstallationRules
from chalicelib.tokens.jwk import VerifyingKey
from local.sqlite import audit_rows
from local.sqlite.control import SqliteControl
from local.sqlite.ledger import SqliteLedger
from local.sqlite.state_file import StateFile
from tests.parts import CI, DIALECT, GRANTS, ISSUERS, NOW, SUB, Parts, grant, mint

TEXT = ISSUERS + GRANTS
UNWISE = grant(to="{issuer: ci, claims: {ref: refs/heads/main}}")


def clock() -> int:
    return NOW


def upload(text: str, *allow: str) -> PolicyUpload:
    return PolicyUpload(text, "keybroker.yaml", allow)


def refused(text: str, *allow: str) -> PolicyRefused:
    with pytest.raises(PolicyRefused) as caught:
        policy_service.validate(upload(text, *allow), DIALECT)
    return caught.value


def explained(parts: Parts, **fields: object) -> dict[str, Any]:
    return policy_service.explain(fields, parts.control.current(), DIALECT, parts.broker().keys, NOW)


# what is sent


def test_read_upload() -> None:
    """An upload is the policy's text, its file name, and the lint rules to allow."""
    assert policy_service.read({"text": "x"}) == PolicyUpload("x", "keybroker.yaml", ())
    fields = {"text": "x", "file": "a.yaml", "allow": ["covered", "unpinned"]}
    assert policy_service.read(fields) == PolicyUpload("x", "a.yaml", ("covered", "unpinned"))


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
def test_malformed_upload(fields: object) -> None:
    """A malformed upload is refused with what is expected."""
    with pytest.raises(Refusal) as caught:
        policy_service.read(fields)
    one = caught.value
    assert (one.reason, one.error, one.status) == ("malformed_request", "invalid_request", 400)
    assert (
        one.description
        == f"the body must be an object with text, and optionally file and allow (a list of {', '.join(lint.RULES)})"
    )


def test_faults_have_lines() -> None:
    """Every fault is listed with file, line and field."""
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


def test_lint_refusal() -> None:
    """A lint finding is refused unless its rule is allowed by name."""
    one = refused(UNWISE)
    assert (one.reason, one.status, one.description) == ("policy_lint", 422, "the policy does not pass lint")
    assert [(error["rule"], error["field"]) for error in one.errors] == [("unpinned", "grants.app.to.claims")]
    assert (
        one.errors[0]["line"] == UNWISE.splitlines().index("    to: {issuer: ci, claims: {ref: refs/heads/main}}") + 1
    )
    assert policy_service.validate(upload(UNWISE, "unpinned"), DIALECT).grants
    assert refused(UNWISE, "covered").reason == "policy_lint"


# plan and apply


def test_plan(parts: Parts) -> None:
    """A plan is made against the version in force."""
    version = parts.control.current().version
    found = policy_service.plan(upload(grant(ttl="10m")), parts.control, DIALECT)
    assert found.version == version
    assert (found.changes[0].change, found.changes[0].name) == ("remove", "pods")
    assert parts.control.current().version == version


def test_apply_expects_version(parts: Parts) -> None:
    """Applying takes only the version that was planned against."""
    version = parts.control.current().version
    stored = policy_service.apply(upload(TEXT), version, parts.control, DIALECT, parts.event())
    assert (stored.version, stored.text) == (version + 1, TEXT)
    with pytest.raises(Refusal) as caught:
        policy_service.apply(upload(TEXT), version, parts.control, DIALECT, parts.event())
    assert (caught.value.reason, caught.value.status) == ("policy_changed", 412)


def test_faulty_policy_changes_nothing(parts: Parts) -> None:
    """A policy with faults changes nothing."""
    before = parts.control.current()
    for text in ("", UNWISE):
        with pytest.raises(PolicyRefused):
            policy_service.apply(upload(text), before.version, parts.control, DIALECT, parts.event())
    assert parts.control.current() == before


def test_narrower_scope(parts: Parts) -> None:
    """A narrower scope applies to tokens already issued."""
    parts.apply(grant())
    token = parts.token()
    text = grant(scope='["GET:/v1/models"]')
    policy_service.apply(upload(text), parts.control.current().version, parts.control, DIALECT, parts.event())
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("out_of_scope", 403)
    assert parts.admit(token, "/v1/models", method="GET").grant == "app"


def test_removed_grant_and_tokens(parts: Parts) -> None:
    """The removal of a grant applies to tokens already issued."""
    token = parts.token()
    text = ISSUERS + "grants:\n" + GRANTS[GRANTS.index("  pods:") :]
    policy_service.apply(upload(text), parts.control.current().version, parts.control, DIALECT, parts.event())
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("grant_gone", 403)


def test_lower_limit(parts: Parts) -> None:
    """A lower limit applies to tokens already issued."""
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


def test_first_plan(empty: StateFile) -> None:
    """Before the first policy, a plan adds everything to version 0."""
    found = policy_service.plan(upload(TEXT), SqliteControl(empty), DIALECT)
    assert (found.version, {one.change for one in found.changes}) == (0, {"add"})


def test_no_policy_yet(parts: Parts, empty: StateFile) -> None:
    """Before the first policy, there is nothing to explain or to replay."""
    none = SqliteControl(empty)
    asks: list[Callable[[], object]] = [
        lambda: policy_service.explain({"claims": {}}, none.current(), DIALECT, parts.broker().keys, NOW),
        lambda: policy_service.replay(upload(TEXT), none, DIALECT, SqliteLedger(empty), clock),
    ]
    for ask in asks:
        with pytest.raises(Refusal) as caught:
            ask()
        assert (caught.value.reason, caught.value.status) == ("no_policy", 404)


def test_stored_policy_no_longer_parses(parts: Parts) -> None:
    """A policy in force that no longer parses is refused with its faults."""
    without = InstallationRules({})
    looks: list[Callable[[], object]] = [
        lambda: policy_service.explain({"claims": {}}, parts.control.current(), without, parts.broker().keys, NOW),
        lambda: policy_service.plan(PolicyUpload(_GENERIC, "new.yaml", ()), parts.control, without),
        lambda: policy_service.replay(
            PolicyUpload(_GENERIC, "new.yaml", ()), parts.control, without, parts.ledger, clock
        ),
    ]
    for look in looks:
        with pytest.raises(PolicyRefused) as caught:
            look()
        assert {error["file"] for error in caught.value.errors} in ({"the policy in force"}, {"version 1"})


_GENERIC = (ISSUERS + GRANTS[: GRANTS.index("  pods:")]).replace("preset: ci", f'url: "{CI}"')


# explain


def test_verified_token(parts: Parts) -> None:
    """A token that verifies is explained as verified."""
    found = explained(parts, token=mint())
    assert (found["verified"], found["unverified_because"]) == (True, "")
    assert (found["issuer"], found["principal"], found["admitted"]) == ("ci", SUB, ["app"])


def test_claims_are_unverified(parts: Parts) -> None:
    """Claims without a token are never verified."""
    found = explained(parts, claims={"iss": CI, "repository_id": "1234"})
    assert (found["verified"], found["unverified_because"]) == (False, "claims were sent, not a token")


def test_explain_leaves_no_trace(parts: Parts) -> None:
    """Explaining a token neither uses it up nor writes an event."""
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
def test_unverified_token(parts: Parts, token: str, because: str, issuer: str | None) -> None:
    """A token that does not verify is explained with the reason."""
    found = explained(parts, token=token)
    assert (found["verified"], found["unverified_because"], found["issuer"]) == (False, because, issuer)


def test_explain_forged_claims(parts: Parts) -> None:
    """A forged token is explained by its claims, as unverified."""
    assert explained(parts, token=_forged())["admitted"] == ["app"]


class _Unreachable:
    def find(self, issuer: Issuer, kid: str, alg: str, now: int) -> VerifyingKey:  # noqa: ARG002  the port's signature
        raise IssuerKeysUnavailable


def test_issuer_unreachable(parts: Parts) -> None:
    """A token whose issuer cannot be reached is unverified."""
    found = policy_service.explain({"token": mint()}, parts.control.current(), DIALECT, _Unreachable(), NOW)
    assert (found["verified"], found["unverified_because"]) == (False, "issuer_keys_unavailable")


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ({"issuer": f"{CI}/", "jwks_uri": f"{CI}/jwks"}, "discovery_of_another_issuer"),
        ({"issuer": CI, "jwks_uri": "not a url"}, "jwks_uri_malformed"),
        ({"issuer": CI, "jwks_uri": "http://127.0.0.1/jwks"}, "jwks_uri_malformed"),
    ],
)
def test_keys_of_no_use_are_explained(parts: Parts, document: object, cause: str) -> None:
    """Why an issuer's keys are of no use is told to an administrator, and so is why they cannot be fetched."""

    def gone(_url: str, _within: float) -> object:
        raise FetchError("status_404")

    unusable, unavailable = ("issuer_keys_unusable", cause), ("issuer_keys_unavailable", "status_404")
    for keys, told in ((Jwks(lambda *_: document), unusable), (Jwks(gone), unavailable)):
        found = policy_service.explain({"token": mint()}, parts.control.current(), DIALECT, keys, NOW)
        assert (found["verified"], found["unverified_because"], found["cause"]) == (False, *told)


def test_explain_one_key(parts: Parts) -> None:
    """With a key, only its grants are explained."""
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
def test_malformed_explain(parts: Parts, fields: object) -> None:
    """A malformed request is refused with what is expected."""
    with pytest.raises(Refusal) as caught:
        policy_service.explain(fields, parts.control.current(), DIALECT, parts.broker().keys, NOW)
    assert (caught.value.reason, caught.value.status) == ("malformed_request", 400)
    assert (
        caught.value.description
        == "the body must be an object with either claims (an object) or token, and optionally key"
    )


# replay


def test_replay(parts: Parts) -> None:
    """A replay tries the claims that the audit recorded."""
    parts.exchange()
    with pytest.raises(Refusal):
        parts.exchange(mint(repository_id="5", repository_owner_id="1"))
    text = TEXT.replace('repository_owner_id: "9919"', 'repository_owner_id: "1"')
    found = policy_service.replay(upload(text), parts.control, DIALECT, parts.ledger, clock)
    assert (found["tried"], len(found["newly_admitted"]), len(found["newly_refused"])) == (2, 1, 1)
    assert found["newly_admitted"][0]["principal"] == f"{CI}|repository_id:5"
    assert found["newly_refused"][0]["principal"] == SUB


def issued(parts: Parts, kind: str, callers: int, times: int) -> None:
    """Record so many events, of so many callers in turn."""
    made = Event(id="", at=NOW, kind=kind, request_id="r", key="openai")
    events = [
        replace(made, id=f"{kind}-{one}", claims={"iss": CI, "aud": "keybroker", "repository_id": str(one % callers)})
        for one in range(times)
    ]
    with parts.state.writing() as connection:
        for event in events:
            audit_rows.write(connection, event)


def test_strangers_hide_no_caller(parts: Parts) -> None:
    """However often a stranger was refused, every caller that was issued a token is looked at, once."""
    issued(parts, "token.issued", callers=3, times=30)
    issued(parts, "token.refused", callers=1, times=REFUSED_LIMIT + 1)
    found = policy_service.replay(upload(TEXT), parts.control, DIALECT, parts.ledger, clock)
    assert (found["complete"], found["tried"]) == (True, 3)


def test_replay_says_that_it_is_not_complete(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay that has not read all issued tokens, for their number or for the time, says so."""
    issued(parts, "token.issued", callers=1, times=PAGE_LIMIT + 1)
    late = itertools.count(NOW, REPLAY_SECONDS)
    found = policy_service.replay(upload(TEXT), parts.control, DIALECT, parts.ledger, lambda: next(late))
    assert not found["complete"]
    monkeypatch.setattr(policy_service, "ISSUED_LIMIT", PAGE_LIMIT)
    assert not policy_service.replay(upload(TEXT), parts.control, DIALECT, parts.ledger, clock)["complete"]
    monkeypatch.setattr(policy_service, "ISSUED_LIMIT", 2 * PAGE_LIMIT)
    assert policy_service.replay(upload(TEXT), parts.control, DIALECT, parts.ledger, clock)["complete"]


def test_replay_faulty_policy(parts: Parts) -> None:
    """A replay of a policy with faults is refused."""
    with pytest.raises(PolicyRefused) as caught:
        policy_service.replay(upload("x"), parts.control, DIALECT, parts.ledger, clock)
    assert caught.value.reason == "policy_invalid"
