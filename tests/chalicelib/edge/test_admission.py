from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from chalicelib.edge.admission import admit
from chalicelib.edge.call import Call
from chalicelib.edge.errors import InvalidToken
from chalicelib.errors import StateUnavailable, Unavailable
from chalicelib.models.body import CallBody
from chalicelib.providers.keys import ProviderKey
from chalicelib.quota import Counter, counters
from chalicelib.revocation import SCOPES, RevocationTarget
from local.sqlite.edge_state import SqliteEdgeState
from tests.contracts import samples
from tests.edge_function import chat_body
from tests.parts import CI, ISSUERS, KEY_VALUE, NOW, SUB, Parts, claims_of, grant, mint
from tests.refused import refused

CHAT = "/v1/chat/completions"
EMPTY = CallBody("", truncated=False)


def target(scope: str, token: str) -> RevocationTarget:
    ids = {"everything": "*", "issuer": CI, "key": "openai", "grant": "app", "principal": SUB}
    return RevocationTarget(scope, ids.get(scope) or str(claims_of(token)["jti"]))


def test_missing_token(parts: Parts) -> None:
    """A call without a token is a 401 and is not counted."""
    refusal = refused(lambda: parts.admit(""))
    assert (refusal.reason, refusal.error, refusal.status) == ("token_missing", "invalid_token", 401)
    assert parts.counted() == {}


def test_out_of_own_scope(parts: Parts) -> None:
    """A call beyond its token's own scope is a 403, counted as refused for its principal, and takes nothing of the quota."""
    token = parts.exchange(scope=frozenset({"GET:/v1/models"})).access_token
    refusal = refused(lambda: parts.admit(token))
    assert (refusal.reason, refusal.error, refusal.status) == ("out_of_scope", "insufficient_scope", 403)
    assert refusal.about == {"key": "openai", "grant": "app", "principal": SUB, "jti": claims_of(token)["jti"]}
    assert set(parts.counted().values()) == {(0, 1)}


class OutOfReach(SqliteEdgeState):
    """A state that cannot be written."""

    def give_back(self, counters: tuple[Counter, ...], reason: str, *, held: bool = True) -> int:  # noqa: ARG002  the port's
        raise StateUnavailable(aws_code="ThrottlingException")


def test_out_of_own_scope_without_state(parts: Parts) -> None:
    """A call beyond its token's scope stays refused where that cannot be counted, and the log says that it is not."""
    token = parts.exchange(scope=frozenset({"GET:/v1/models"})).access_token
    edge = replace(parts.edge_parts(), state=OutOfReach(parts.state))
    refusal = refused(lambda: admit(Call(token, "openai", "POST", CHAT), edge, NOW))
    assert (refusal.reason, refusal.status) == ("out_of_scope", 403)
    told = refusal.log_fields()
    assert (told["principal"], told["uncounted"], told["cause"]) == (SUB, "state_unavailable", "ThrottlingException")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"aud": "anthropic"}, "aud_wrong"),
        ({"iss": "https://another.example"}, "iss_wrong"),
        ({"iat": NOW - 3600, "nbf": NOW - 3600, "exp": NOW - 30}, "exp_past"),
        ({"iat": NOW + 31}, "iat_future"),
        ({"exp": NOW + 3601}, "lifetime_too_long"),
        *(({name: None}, f"{name}_missing") for name in ("sub", "client_id", "scope", "grant", "idp", "ep", "jti")),
    ],
)
def test_rules_of_issued_tokens(parts: Parts, change: dict[str, object], reason: str) -> None:
    """A signed token that breaks a rule is a 401 and is not counted."""
    token = parts.sign({**claims_of(parts.token()), **change})
    refusal = refused(lambda: parts.admit(token))
    assert (refusal.reason, refusal.error, refusal.status) == (reason, "invalid_token", 401)
    assert parts.counted() == {}


def test_wrong_signature(parts: Parts) -> None:
    """A token with another signature is refused."""
    head, _, signature = parts.token().rpartition(".")
    other = ("B" if signature[0] == "A" else "A") + signature[1:]
    assert refused(lambda: parts.admit(f"{head}.{other}")).reason == "signature_wrong"


def test_subject_token_at_the_edge(parts: Parts) -> None:
    """An identity token of an issuer opens nothing at the edge."""
    refusal = refused(lambda: parts.admit(mint(aud="openai")))
    assert (refusal.reason, refusal.status) == ("kid_unknown", 401)


def test_what_an_invalid_token_is_told(parts: Parts) -> None:
    """Callers are not told what is wrong with a token, except that it has expired."""
    claims = claims_of(parts.token())
    for token in ("x", "a.b.c", parts.sign({**claims, "jti": ""}), parts.sign({**claims, "iss": "https://x.example"})):
        assert refused(partial(parts.admit, token)).description == "not a valid token for this"
    assert "expired" in refused(lambda: parts.admit(parts.sign(claims), now=NOW + 931)).description


def test_admitted(parts: Parts) -> None:
    """An admitted call gets the key, and names its principal, grant and token."""
    token = parts.token()
    admitted = parts.admit(token)
    assert admitted.key.reveal() == f"Bearer {KEY_VALUE}"
    assert (admitted.principal, admitted.grant, admitted.jti) == (SUB, "app", claims_of(token)["jti"])


@pytest.mark.parametrize("scope", SCOPES)
def test_revoke_then_restore(parts: Parts, scope: str) -> None:
    """A revocation holds from the next call; restoring does not revive older tokens."""
    token = parts.token()
    parts.admit(token)
    one = target(scope, token)
    revocation = parts.revoke(scope, one.id)
    blocked = refused(lambda: parts.admit(token))
    assert (blocked.reason, blocked.status) == (f"revoked_{scope}", 403)
    parts.restore(revocation)
    stale = refused(lambda: parts.admit(token))
    assert (stale.reason, stale.status) == (f"stale_{scope}", 401)
    parts.admit(parts.token())


def test_refusal_names_who_was_refused(parts: Parts) -> None:
    """A refusal names who was refused only after verification."""
    token = parts.token()
    parts.revoke("principal", SUB)
    about = refused(lambda: parts.admit(token)).about
    assert about == {"key": "openai", "grant": "app", "principal": SUB, "jti": claims_of(token)["jti"]}
    assert refused(lambda: parts.admit("x")).about == {}


def test_narrower_grant(parts: Parts) -> None:
    """A narrower grant holds from the next call."""
    token = parts.token()
    parts.admit(token)
    parts.apply(grant(scope='["GET:/v1/models"]'))
    assert refused(lambda: parts.admit(token)).reason == "out_of_scope"
    parts.admit(token, "/v1/models", method="GET")


def test_wider_grant(parts: Parts) -> None:
    """A wider grant does not widen the tokens issued before."""
    token = parts.token()
    parts.apply(grant(scope='["POST:/v1/chat/completions", "POST:/v1/embeddings"]'))
    assert refused(lambda: parts.admit(token, "/v1/embeddings")).reason == "out_of_scope"


def test_lower_limit(parts: Parts) -> None:
    """A lower limit holds from the next call."""
    token = parts.token()
    parts.admit(token)
    parts.admit(token)
    parts.apply(grant(quota="{tokens: 100/hour, calls: [2/minute, 1000/day]}"))
    refusal = refused(lambda: parts.admit(token))
    assert (refusal.reason, refusal.status, refusal.retry_after) == ("quota_calls", 429, 60)
    parts.admit(token, now=NOW + 60)


def test_removed_grant(parts: Parts) -> None:
    """A grant removed from the policy stops its tokens."""
    token = parts.token()
    parts.apply(grant().replace("  app:", "  other:"))
    assert refused(lambda: parts.admit(token)).reason == "grant_gone"


def test_narrowed_grant(parts: Parts) -> None:
    """A caller that a narrower grant leaves out is out at the next call; the others fetch a fresh token."""
    to = "{{issuer: ci, claims: {{repository_id: [{}]}}}}"
    parts.apply(grant(to=to.format('"1234", "77"')))
    mine, other = parts.token(), parts.token(repository_id="77")
    parts.apply(grant(to=to.format('"1234"')))
    for token in (mine, other):
        assert refused(lambda token=token: parts.admit(token)).reason == "stale_grant"  # type: ignore[misc]  # bound now
    parts.admit(parts.token())
    assert refused(lambda: parts.token(repository_id="77")).reason == "no_grant"


def test_removed_grant_comes_back(parts: Parts) -> None:
    """A grant that was removed and comes back revives no token of before."""
    token = parts.token()
    parts.apply(grant().replace("  app:", "  other:"))
    parts.apply(grant())
    assert refused(lambda: parts.admit(token)).reason == "stale_grant"


def test_limit_per_principal(parts: Parts) -> None:
    """A limit of n admits exactly n calls of each principal."""
    parts.apply(grant(quota="{tokens: 100/hour, calls: [3/minute]}"))
    token, other = parts.token(), parts.token(repository_id="77")
    for _ in range(3):
        parts.admit(token)
    assert refused(lambda: parts.admit(token)).reason == "quota_calls"
    parts.admit(other)


def test_refused_call_is_given_back(parts: Parts) -> None:
    """A refused call takes nothing of the quota; an admitted one does."""
    parts.apply(grant(quota="{tokens: 100/hour, calls: [2/minute, 10/day]}"))
    token = parts.token()
    parts.admit(token)
    parts.admit(token)
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (2, 0))
    for _ in range(5):
        refused(lambda: parts.admit(token))
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (2, 5))


@pytest.mark.parametrize("scope", SCOPES)
def test_revoked_call_is_given_back(parts: Parts, scope: str) -> None:
    """A call refused by a revocation takes nothing of the quota."""
    token = parts.token()
    parts.revoke(scope, target(scope, token).id)
    refused(lambda: parts.admit(token))
    assert parts.counted()["day"] == (0, 1)


def test_rotation(parts: Parts) -> None:
    """A rotated key is used from the next call."""
    token = parts.token()
    first = parts.admit(token).key
    second = parts.set_key("openai", "sk-rotated")
    key = parts.admit(token).key
    assert (key.version, key.reveal()) == (second, "Bearer sk-rotated")
    assert first.version != second


def test_value_not_in_force(parts: Parts) -> None:
    """A value that is stored but not yet in force is not used."""
    token = parts.token()
    parts.admit(token)
    parts.set_key("openai", "sk-next", in_force=False)
    assert parts.admit(token).key.reveal() == f"Bearer {KEY_VALUE}"


def test_missing_key_version(parts: Parts) -> None:
    """A key's version that is not stored is a 503, and the call is given back."""
    token = parts.token()
    parts.control.set_key("openai", samples.key_version("nobody-has-it"), parts.event("key.set"))
    with pytest.raises(Unavailable) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("provider_key_version", 503)
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (0, 1))


class _Faulty:
    """Provider keys that have a fault."""

    def get(self, _name: str, _version: str) -> ProviderKey:
        raise ZeroDivisionError


def test_fault_is_given_back(parts: Parts) -> None:
    """A fault of ours takes nothing of the quota, and is raised as it is."""
    call = Call(parts.token(), "openai", "POST", CHAT)
    with pytest.raises(ZeroDivisionError):
        admit(call, replace(parts.edge_parts(), provider_keys=_Faulty()), NOW)
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (0, 1))


def grant_of(key: str) -> str:
    return grant(key=key).removeprefix(ISSUERS)


def test_key_without_a_value(parts: Parts) -> None:
    """A key that was never set is a 503."""
    parts.apply(ISSUERS.replace("  anthropic:", "  internal: {provider: openai}\n  anthropic:") + grant_of("internal"))
    token = parts.exchange(audience="internal").access_token
    with pytest.raises(Unavailable, match="provider_key_missing"):
        parts.admit(token, key="internal")


def test_state_out_of_reach(parts: Parts) -> None:
    """State that is out of reach is a 503."""
    token = parts.token()
    (parts.directory / "state.db").rename(parts.directory / "gone.db")
    with pytest.raises(Unavailable) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("state_unavailable", 503)


def test_windows_of_a_call(parts: Parts) -> None:
    """A call is counted in the windows of its time."""
    token = parts.token()
    parts.admit(token, now=NOW + 59)
    parts.admit(token, now=NOW + 60)
    with parts.state.reading() as connection:
        rows = connection.execute("SELECT window, start, taken FROM counters WHERE what = 'calls'").fetchall()
    day = NOW - 28_800
    assert set(rows) == {("minute", NOW, 1), ("minute", NOW + 60, 1), ("hour", NOW, 2), ("day", day, 2)}
    assert Counter("calls", "app", SUB, "minute", NOW) in counters("calls", "app", SUB, NOW + 59)


def test_refused_model_is_given_back(parts: Parts) -> None:
    """A call refused for its model takes nothing of the quota."""
    parts.apply(grant(models="[gpt-5-mini]"))
    token = parts.token()
    call = Call(token, "openai", "POST", CHAT, body=chat_body("gpt-5"))
    refusal = refused(lambda: admit(call, parts.edge_parts(), NOW))
    assert (refusal.reason, refusal.about["grant"]) == ("model_not_allowed", "app")
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (0, 1))
    admit(replace(call, body=chat_body("gpt-5-mini")), parts.edge_parts(), NOW)
    assert parts.counted()["day"] == (1, 1)


def test_models_are_added(parts: Parts) -> None:
    """Models added to a grant hold from the next call."""
    token = parts.token()
    call = Call(token, "openai", "POST", CHAT, body=chat_body("gpt-5"))
    admit(call, parts.edge_parts(), NOW)
    parts.apply(grant(models="[gpt-5-mini]"))
    assert refused(lambda: admit(call, parts.edge_parts(), NOW)).reason == "model_not_allowed"


def test_total_is_shared(parts: Parts) -> None:
    """A grant's `total` is shared by all of its callers."""
    parts.apply(grant(total="{calls: 3/day}"))
    ada, bob = parts.token(), parts.token(repository_id="99")
    assert [bool(parts.admit(token)) for token in (ada, bob, ada)] == [True] * 3
    refusal = refused(lambda: parts.admit(bob))
    assert (refusal.reason, refusal.status) == ("quota_calls", 429)
    assert parts.counted()["day"] == (6, 2), "three calls, each counted for its caller and for all, and both given back"


def test_a_known_token_is_good_within_its_times_alone(parts: Parts) -> None:
    """What is remembered of a token is for its key alone, and neither begins it earlier nor lets it live longer."""
    parts.apply(grant())
    edge, token = parts.edge_parts(), parts.token()
    ends = int(claims_of(token)["exp"])

    def admitted(now: int, key: str = "openai") -> str:
        try:
            return admit(Call(token, key, "POST", CHAT, body=EMPTY), edge, now).jti
        except InvalidToken as refusal:
            return refusal.reason

    jti = claims_of(token)["jti"]
    nows = (NOW, NOW - 30, NOW - 31, ends - 1, ends, NOW)
    assert [admitted(now) for now in nows] == [jti, jti, "iat_future", jti, "exp_past", jti]
    assert admitted(NOW, "anthropic") == "aud_wrong"
    again = parts.sign({**claims_of(token), "jti": "another"})
    assert admit(Call(again, "openai", "POST", CHAT, body=EMPTY), edge, NOW).jti == "another"
