from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jwt
import pytest

from chalicelib.audit import Event, IssuedCount, Page, Query
from chalicelib.errors import StateUnavailable, Unavailable
from chalicelib.exchange import exchange
from chalicelib.exchange.ledger import ExchangeState, Issuance, Ledger, StateQuery
from chalicelib.issuers.jwks import Jwks
from chalicelib.tokens.jwk import thumbprint
from tests.parts import BROKER, CI, CLUSTER, EDGE, ISSUERS, NOW, SUB, Parts, claims_of, grant, mint
from tests.refused import refused

POD = "system:serviceaccount:prod:api"
RETRY = "0123456789abcdef0123456789abcdef"


class Counted:
    """The real ledger, and what was asked of it."""

    def __init__(self, ledger: Ledger, failing: str = "") -> None:
        self._ledger, self._failing = ledger, failing
        self.asked: list[str] = []

    def find(self, query: StateQuery) -> ExchangeState:
        self._note("find")
        return self._ledger.find(query)

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        self._note("issue")
        return self._ledger.issue(issuance, now)

    def record(self, event: Event) -> None:
        self._note("record")
        self._ledger.record(event)

    def page(self, query: Query) -> Page:
        self._note("page")
        return self._ledger.page(query)

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        return self._ledger.count_issued(since, until, at_most)

    def _note(self, name: str) -> None:
        self.asked.append(name)
        if name == self._failing:
            raise StateUnavailable


# the issued token


def test_the_claims_are_exactly_these(parts: Parts) -> None:
    issued = parts.exchange()
    claims = claims_of(issued.access_token)
    assert claims == {
        "iss": BROKER,
        "sub": SUB,
        "aud": "openai",
        "client_id": SUB,
        "scope": "POST:/v1/chat/completions GET:/v1/models GET:/v1/models/*",
        "grant": "app",
        "idp": CI,
        "ep": [0, 0, 0, 0, 0],
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 900,
        "jti": claims["jti"],
    }
    assert (issued.expires_in, issued.scope, issued.base_url) == (900, claims["scope"], f"{EDGE}/openai/v1")


def test_the_header_names_type_algorithm_and_the_key_s_thumbprint(parts: Parts) -> None:
    header = jwt.get_unverified_header(parts.token())
    assert header == {"typ": "at+jwt", "alg": "ES256", "kid": thumbprint(dict(parts.signer.public_jwk))}


@pytest.mark.parametrize(
    ("place", "scope", "target"),
    [(0, "everything", "*"), (1, "issuer", CI), (2, "key", "openai"), (3, "grant", "app"), (4, "principal", SUB)],
)
def test_the_epochs_stand_in_this_order(parts: Parts, place: int, scope: str, target: str) -> None:
    parts.restore(parts.revoke(scope, target))
    assert claims_of(parts.token())["ep"] == [int(place == each) for each in range(5)]


def test_a_token_lives_as_long_as_the_grant_says(parts: Parts) -> None:
    parts.apply(grant(ttl="5m"))
    assert parts.exchange().expires_in == 300


def test_no_token_lives_longer_than_an_hour_whatever_is_stored(parts: Parts) -> None:
    with parts.state.writing() as connection:
        connection.execute("UPDATE things SET config = json_set(config, '$.ttl', 86400) WHERE id = 'app'")
    issued = parts.exchange()
    claims = claims_of(issued.access_token)
    assert (issued.expires_in, claims["exp"] - claims["iat"]) == (3600, 3600)


def test_the_subject_is_the_stable_id(parts: Parts) -> None:
    """The subject is the id that is never recycled, not the name."""
    renamed = claims_of(parts.token(repository="octo-org/renamed", sub="repo:octo-org/renamed:ref:refs/heads/main"))
    assert renamed["sub"] == SUB
    assert claims_of(parts.token(repository_id="5"))["sub"] == f"{CI}|repository_id:5"


def test_a_generic_issuer_s_subject_is_its_sub(parts: Parts) -> None:
    claims = claims_of(parts.token(issuer=CLUSTER, sub=POD))
    assert (claims["sub"], claims["idp"], claims["grant"]) == (f"{CLUSTER}|sub:{POD}", CLUSTER, "pods")


# before verification: a bare invalid_grant


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "another"}, "aud_wrong"),
        ({"aud": ["keybroker", "another"]}, "aud_wrong"),
        ({"iss": "https://nobody.example"}, "issuer_unknown"),
        ({"iss": CI + "/"}, "issuer_unknown"),
        ({"iss": "https://" + "x" * 300}, "issuer_unknown"),
        ({"aud": "another", "exp": NOW - 30}, "aud_wrong"),
        ({"aud": "another", "repository_id": 1234}, "aud_wrong"),
    ],
)
def test_unverified_gets_a_bare_answer(parts: Parts, claims: dict[str, object], reason: str) -> None:
    """A token of another audience or issuer gets a bare answer and no audit event, whatever else is wrong with it."""
    before = len(parts.events())
    refusal = refused(lambda: parts.exchange(mint(**claims)))  # type: ignore[arg-type]  # any claims, `iss` among them
    assert (refusal.reason, refusal.error, refusal.status, refusal.description) == (reason, "invalid_grant", 400, "")
    assert len(parts.events()) == before


def test_keys_that_cannot_be_used_are_said_to_be_so(parts: Parts) -> None:
    """An issuer whose documents are of no use is no matter of time: the caller is told so, and not to try again."""
    keys = Jwks(lambda *_: {"issuer": f"{CI}/", "jwks_uri": f"{CI}/jwks"})
    request = exchange.TokenRequest(mint(), "openai", "req-1")
    before = len(parts.events())
    refusal = refused(lambda: exchange.exchange(request, replace(parts.broker(), keys=keys), NOW, parts.new_id))
    assert (refusal.reason, refusal.error, refusal.status) == ("issuer_keys_unusable", "server_error", 503)
    assert refusal.description.startswith(
        "the keys of this identity's issuer cannot be used; trying again does not help"
    )
    assert (refusal.retry_after, refusal.log_fields()) == (None, {"cause": "discovery_of_another_issuer"})
    assert len(parts.events()) == before


def test_an_issued_token_is_no_subject_token(parts: Parts) -> None:
    assert refused(lambda: parts.exchange(parts.token())).reason == "issuer_unknown"


# replays and retries


def test_an_audience_is_migrated_without_an_outage(parts: Parts) -> None:
    """While an issuer has two audiences, tokens for either are accepted, one at a time, and adding one ends no token."""
    old = claims_of(parts.exchange().access_token)["ep"]
    for audiences in ("[keybroker, new]", "[new, keybroker]"):
        parts.apply(grant().replace("audience: keybroker", f"audience: {audiences}"))
        for aud in ("keybroker", ["new"]):
            assert claims_of(parts.exchange(mint(aud=aud)).access_token)["ep"] == old
        both = refused(lambda: parts.exchange(mint(aud=["new", "keybroker"])))
        assert (both.reason, both.error) == ("aud_wrong", "invalid_grant")
    parts.apply(grant().replace("audience: keybroker", "audience: new"))
    assert claims_of(parts.exchange(mint(aud="new")).access_token)["ep"] != old
    assert refused(lambda: parts.exchange(mint(aud="keybroker"))).reason == "aud_wrong"


def test_a_subject_token_is_used_once(parts: Parts) -> None:
    subject = mint()
    parts.exchange(subject)
    refusal = refused(lambda: parts.exchange(subject))
    assert (refusal.reason, refusal.error, refusal.status) == ("replayed", "invalid_grant", 400)
    assert [(one.kind, one.reason) for one in parts.events(principal=SUB)] == [
        ("token.refused", "replayed"),
        ("token.issued", ""),
    ]


def test_a_retry_gets_the_same_claims_signed_again(parts: Parts) -> None:
    subject = mint()
    first = parts.exchange(subject, idempotency_key=RETRY)
    again = parts.exchange(subject, NOW + 5, idempotency_key=RETRY)
    assert claims_of(again.access_token) == claims_of(first.access_token)
    assert (first.expires_in, again.expires_in) == (900, 895)
    parts.admit(again.access_token, now=NOW + 5)


def test_a_retry_counts_once_and_is_audited_once(parts: Parts) -> None:
    subject = mint()
    for _ in range(3):
        parts.exchange(subject, idempotency_key=RETRY)
    assert parts.counted("tokens")["hour"] == (1, 0)
    assert [one.kind for one in parts.events(principal=SUB)] == ["token.issued"]


@pytest.mark.parametrize(
    "second",
    [
        {"idempotency_key": "f" * 32},
        {"idempotency_key": None},
        {"scope": frozenset({"GET:/v1/models"})},
        {"scope": frozenset[str]()},
        {"grant": "app"},
    ],
)
def test_what_differs_in_anything_is_a_replay_and_no_retry(parts: Parts, second: dict[str, object]) -> None:
    subject = mint()
    parts.exchange(subject, idempotency_key=RETRY)
    refusal = refused(lambda: parts.exchange(subject, **{"idempotency_key": RETRY, **second}))  # type: ignore[arg-type]  # TokenRequest's fields
    assert refusal.reason == "replayed"


def test_a_retry_after_the_token_has_expired_is_a_replay(parts: Parts) -> None:
    parts.apply(grant(ttl="5m"))
    subject = mint(exp=NOW + 800)
    parts.exchange(subject, idempotency_key=RETRY)
    assert parts.exchange(subject, NOW + 299, idempotency_key=RETRY).expires_in == 1
    assert refused(lambda: parts.exchange(subject, NOW + 300, idempotency_key=RETRY)).reason == "replayed"


def test_a_retry_after_a_revocation_was_lifted_stays_dead(parts: Parts) -> None:
    subject = mint()
    parts.exchange(subject, idempotency_key=RETRY)
    parts.restore(parts.revoke("principal", SUB))
    again = parts.exchange(subject, idempotency_key=RETRY)
    assert refused(lambda: parts.admit(again.access_token)).reason == "stale_principal"


def test_a_replay_is_refused_to_the_end(parts: Parts) -> None:
    """A replay is refused as long as the subject token could verify."""
    subject = mint()
    parts.exchange(subject)
    assert refused(lambda: parts.exchange(subject, NOW + 329)).reason == "replayed"
    assert refused(lambda: parts.exchange(subject, NOW + 330)).reason == "exp_past"


def test_the_same_jti_of_another_issuer_is_no_replay(parts: Parts) -> None:
    parts.apply(ISSUERS.replace("algorithms: [ES256]", "algorithms: [ES256], single_use: true") + _two_issuers())
    parts.exchange(mint(jti="same"))
    parts.exchange(mint(issuer=CLUSTER, sub=POD, jti="same"))
    assert refused(lambda: parts.exchange(mint(issuer=CLUSTER, sub=POD, jti="same"))).reason == "replayed"


def test_without_a_jti_what_was_signed_is_used_once(parts: Parts) -> None:
    parts.apply(ISSUERS.replace("algorithms: [ES256]", "algorithms: [ES256], single_use: true") + _two_issuers())
    subject = mint(issuer=CLUSTER, sub=POD, drop=("jti",))
    parts.exchange(subject)
    assert refused(lambda: parts.exchange(subject)).reason == "replayed"
    parts.exchange(mint(issuer=CLUSTER, sub=POD, drop=("jti",), build="2"))


@pytest.mark.parametrize("single_use", ["true", "false"])
def test_a_retry_is_of_the_same_subject(parts: Parts, single_use: str) -> None:
    """A subject with another's `jti`, Idempotency-Key and request is refused, and never gets that one's token."""
    parts.apply(
        ISSUERS.replace("algorithms: [ES256]", f"algorithms: [ES256], single_use: {single_use}") + _two_issuers()
    )
    mine, other = (mint(issuer=CLUSTER, sub=f"{POD}{one}", jti="same") for one in ("a", "b"))
    issued = claims_of(parts.exchange(mine, idempotency_key=RETRY).access_token)
    assert refused(lambda: parts.exchange(other, idempotency_key=RETRY)).reason == "replayed"
    assert claims_of(parts.exchange(mine, idempotency_key=RETRY).access_token) == issued


@pytest.mark.parametrize("jti", ["", None, 0, 1, 1.5, True, False, [], ["a"], {}, {"a": 1}])
@pytest.mark.parametrize("issuer", [CI, CLUSTER])
def test_a_jti_is_text(parts: Parts, issuer: str, jti: object) -> None:
    """A subject token whose `jti` is there and not non-empty text is refused."""
    refusal = refused(lambda: parts.exchange(mint(issuer=issuer, jti=jti)))
    required = issuer == CI and jti in ("", None)
    assert refusal.reason == ("jti_missing" if required else "jti_malformed")
    assert (refusal.error, refusal.status) == ("invalid_grant", 400)
    assert parts.events(kind="token.issued") == ()


def test_an_issuer_that_is_not_single_use_may_exchange_again(parts: Parts) -> None:
    subject = mint(issuer=CLUSTER, sub=POD)
    first, second = (claims_of(parts.exchange(subject).access_token) for _ in range(2))
    assert first["jti"] != second["jti"]
    assert parts.counted("tokens")["hour"] == (2, 0)


def test_an_issuer_that_is_not_single_use_has_retries_too(parts: Parts) -> None:
    subject = mint(issuer=CLUSTER, sub=POD)
    first, again = (claims_of(parts.exchange(subject, idempotency_key=RETRY).access_token) for _ in range(2))
    assert first == again
    other = claims_of(parts.exchange(subject, idempotency_key="f" * 32).access_token)
    assert other["jti"] != first["jti"]


def test_a_refused_exchange_leaves_the_subject_token_unused(parts: Parts) -> None:
    subject = mint()
    assert refused(lambda: parts.exchange(subject, scope=frozenset({"GET:/v1/files"}))).reason == "scope_beyond_grant"
    parts.exchange(subject)


# scope


def test_a_scope_is_narrowed_to_what_was_asked_for(parts: Parts) -> None:
    issued = parts.exchange(scope=frozenset({"GET:/v1/models/gpt-5-mini", "GET:/v1/models"}))
    assert issued.scope == claims_of(issued.access_token)["scope"] == "GET:/v1/models GET:/v1/models/gpt-5-mini"


@pytest.mark.parametrize("beyond", ["GET:/v1/files", "DELETE:/v1/models", "GET:/v1/models/a/b", "GET:/v1/*", "*"])
def test_scope_beyond_the_grant(parts: Parts, beyond: str) -> None:
    """A scope beyond the grant is invalid_scope, and the answer quotes what was asked for."""
    refusal = refused(lambda: parts.exchange(scope=frozenset({beyond, "GET:/v1/models"})))
    assert (refusal.reason, refusal.error, refusal.status) == ("scope_beyond_grant", "invalid_scope", 400)
    assert refusal.description == f"beyond the grant: {beyond}"


# which grant


def _two_issuers() -> str:
    pods = '  pods:\n    key: openai\n    to: {issuer: cluster, claims: {sub: "system:serviceaccount:prod:*"}}\n'
    rest = '    scope: ["POST:/v1/chat/completions"]\n    quota: {tokens: 100/hour, calls: 100/minute}\n'
    return grant().removeprefix(ISSUERS) + pods + rest


def _with(name: str, **changes: str) -> str:
    return grant(**changes).removeprefix(ISSUERS + "grants:\n").replace("  app:", f"  {name}:")


def test_of_several_grants_that_match_one_has_to_be_named(parts: Parts) -> None:
    parts.apply(grant() + _with("second", scope='["GET:/v1/models"]'))
    refusal = refused(parts.exchange)
    assert (refusal.reason, refusal.error, refusal.status) == ("several_grants", "invalid_request", 400)
    assert "(app, second)" in refusal.description
    assert parts.exchange(grant="second").scope == "GET:/v1/models"


def test_beyond_a_hundred_grants_the_grant_has_to_be_named(parts: Parts) -> None:
    others = "".join(
        _with(f"g{number}", to=f'{{issuer: ci, claims: {{repository_id: "9{number}"}}}}') for number in range(100)
    )
    parts.apply(grant() + others)
    refusal = refused(parts.exchange)
    assert (refusal.reason, refusal.error, refusal.status) == ("name_the_grant", "invalid_request", 400)
    parts.exchange(grant="app")


def test_no_grant_names_the_nearest(parts: Parts) -> None:
    """The refusal names the nearest grant, and quotes the caller's own value only."""
    wanted = '{issuer: ci, claims: {repository_owner_id: "9919", ref: refs/heads/release-secret-name}}'
    parts.apply(grant(to=wanted))
    refusal = refused(lambda: parts.exchange(mint(ref="refs/heads/mine")))
    assert (refusal.reason, refusal.error, refusal.status) == ("no_grant", "invalid_target", 400)
    text = "no grant admits this identity for 'openai'; nearest is 'app', where your claim 'ref' is 'refs/heads/mine'"
    assert refusal.description == text


def test_no_grant_says_which_claim_is_missing(parts: Parts) -> None:
    refusal = refused(lambda: parts.exchange(mint(drop=("ref",))))
    assert refusal.description.endswith("nearest is 'app', where your claim 'ref' is missing")


@pytest.mark.parametrize(
    "more", [{"audience": "nothing"}, {"audience": "anthropic"}, {"grant": "nothing"}, {"grant": "pods"}]
)
def test_refused_and_absent_look_the_same(parts: Parts, more: dict[str, str]) -> None:
    """What a caller may not have and what does not exist look the same."""
    refusal = refused(lambda: parts.exchange(**more))  # type: ignore[arg-type]  # TokenRequest's fields
    assert (refusal.reason, refusal.error, refusal.status) == ("no_grant", "invalid_target", 400)
    assert refusal.description == f"no grant admits this identity for {more.get('audience', 'openai')!r}"


def test_another_issuer_s_grant_admits_nobody(parts: Parts) -> None:
    """A grant of another issuer admits no one, even if it is named."""
    subject = mint(issuer=CLUSTER, sub=POD, repository_owner_id="9919", ref="refs/heads/main")
    assert refused(lambda: parts.exchange(subject, grant="app")).reason == "no_grant"


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run", "issue_comment"])
def test_events_of_strangers_code_are_refused(parts: Parts, event: str) -> None:
    """Events that run a stranger's code are refused unless the grant lists them."""
    refusal = refused(lambda: parts.exchange(mint(event_name=event)))
    assert refusal.reason == "no_grant"
    assert refusal.description.endswith(f"your claim 'event_name' is {event!r}")
    parts.apply(grant(to=f'{{issuer: ci, claims: {{repository_owner_id: "9919", event_name: [push, {event}]}}}}'))
    parts.exchange(mint(event_name=event))


# revoked, used up


@pytest.mark.parametrize(
    ("scope", "target"),
    [("everything", "*"), ("issuer", CI), ("key", "openai"), ("grant", "app"), ("principal", SUB)],
)
def test_what_is_revoked_gets_no_token(parts: Parts, scope: str, target: str) -> None:
    revocation = parts.revoke(scope, target)
    refusal = refused(parts.exchange)
    assert (refusal.reason, refusal.error, refusal.status) == (f"revoked_{scope}", "invalid_grant", 400)
    assert parts.events(request_id="req-1")[0].reason == f"revoked_{scope}"
    parts.restore(revocation)
    parts.exchange()


def test_a_revocation_with_an_end_ends(parts: Parts) -> None:
    parts.revoke("principal", SUB, until=NOW + 10)
    assert refused(lambda: parts.exchange(now=NOW + 9)).reason == "revoked_principal"
    parts.exchange(now=NOW + 10)


def test_tokens_have_a_quota_for_each_principal(parts: Parts) -> None:
    parts.apply(grant(quota="{tokens: [2/hour, 50/day], calls: 10/minute}"))
    parts.exchange()
    parts.exchange()
    refusal = refused(lambda: parts.exchange(now=NOW + 100))
    assert (refusal.reason, refusal.error, refusal.status) == ("quota_tokens", "quota_exceeded", 429)
    assert refusal.retry_after == 3500
    assert parts.counted("tokens")["hour"] == (2, 1)
    parts.exchange(mint(repository_id="5"))
    parts.exchange(mint(NOW + 3600), NOW + 3600)


# state and audit


def test_an_exchange_that_succeeds_touches_state_twice(parts: Parts) -> None:
    ledger = Counted(parts.ledger)
    parts.exchange(ledger=ledger)
    assert ledger.asked == ["find", "issue"]


def test_an_exchange_that_is_refused_touches_state_twice(parts: Parts) -> None:
    ledger = Counted(parts.ledger)
    refused(lambda: parts.exchange(mint(ref="x"), ledger=ledger))
    assert ledger.asked == ["find", "record"]


def test_nothing_is_issued_without_its_record(parts: Parts) -> None:
    ledger = Counted(parts.ledger, failing="issue")
    with pytest.raises(Unavailable) as caught:
        parts.exchange(ledger=ledger)
    assert (caught.value.reason, caught.value.status) == ("state_unavailable", 503)
    assert ledger.asked == ["find", "issue"]
    assert parts.events(principal=SUB) == ()


def test_an_unwritten_record_undoes_the_rest(parts: Parts) -> None:
    """If its record cannot be written, neither lock nor count is."""
    subject = mint()
    with parts.state.writing() as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    with pytest.raises(Unavailable, match="state_unavailable"):
        parts.exchange(subject)
    with parts.state.writing() as connection:
        connection.execute("DROP TRIGGER full")
    assert parts.counted("tokens") == {}
    parts.exchange(subject)


@pytest.mark.parametrize("claims", [{"ref": "x"}, {"jti": 1}])
def test_a_refusal_that_cannot_be_recorded_is_a_503(parts: Parts, claims: dict[str, Any]) -> None:
    ledger = Counted(parts.ledger, failing="record")
    with pytest.raises(Unavailable):
        parts.exchange(mint(**claims), ledger=ledger)
    assert ledger.asked == ["find", "record"]


def test_the_record_says_who_got_what(parts: Parts) -> None:
    subject = mint()
    issued = claims_of(parts.exchange(subject, request_id="req-7").access_token)
    (event,) = parts.events(request_id="req-7")
    assert (event.kind, event.at, event.principal, event.principal_name) == ("token.issued", NOW, SUB, "octo-org/app")
    assert (event.issuer, event.key, event.grant, event.jti) == (CI, "openai", "app", issued["jti"])
    assert event.claims == claims_of(subject)


def test_a_practice_ttl_lets_tokens_live_seconds(parts: Parts) -> None:
    request = exchange.TokenRequest(mint(), "openai", "req-1")
    assert exchange.exchange(request, parts.broker(practice_ttl=2), NOW, parts.new_id).expires_in == 2


def test_a_token_refused_again_is_counted(parts: Parts) -> None:
    """Refusals of one token for one reason are one event, whatever is asked for; of another token they are another."""
    token = mint(repository_owner_id="1")
    for audience in ("openai", "anthropic", "a" * 100):
        refused(lambda audience=audience: parts.exchange(token, audience=audience))  # type: ignore[misc]  # bound now
    refused(lambda: parts.exchange(mint(repository_owner_id="1")))
    found = [event for event in parts.events() if event.kind == "token.refused"]
    assert sorted((event.reason, event.repeated) for event in found) == [("no_grant", 0), ("no_grant", 2)]
