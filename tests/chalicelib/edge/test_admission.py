from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chalicelib.edge.admission import admit
from chalicelib.edge.call import Call
from chalicelib.edge.decision import decide
from chalicelib.edge.state import EdgeState, Snapshot
from chalicelib.edge.token import VerifiedToken
from chalicelib.errors import Refusal, Unavailable
from chalicelib.models.body import NOT_SHOWN, CallBody
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import Counter, counters
from chalicelib.revocation import SCOPES, RevocationState, RevocationTarget
from chalicelib.tokens.verify import Claims
from tests.contracts import samples
from tests.parts import CI, ISSUERS, KEY_VALUE, NOW, SUB, Parts, claims_of, grant, mint, parts_in

CHAT = "/v1/chat/completions"
CALL = Call("decide does not read it", "openai", "POST", CHAT)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        yield made


def refused(attempt: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value


def target(scope: str, token: str) -> RevocationTarget:
    ids = {"everything": "*", "issuer": CI, "key": "openai", "grant": "app", "principal": SUB}
    return RevocationTarget(scope, ids.get(scope) or str(claims_of(token)["jti"]))


def facts(parts: Parts, **claims: object) -> tuple[VerifiedToken, Snapshot]:
    """What `decide` gets of a call that it admits. claims: those that are changed."""
    token = parts.token()
    snapshot = parts.edge_state.read_and_count(
        {scope: target(scope, token) for scope in SCOPES}, counters("calls", "app", SUB, NOW)
    )
    said = Claims({**claims_of(token), **claims})
    return VerifiedToken.from_claims(said, parts.signer.kid()), snapshot


def changed(snapshot: Snapshot, scope: str, **changes: Any) -> Snapshot:  # noqa: ANN401  RevocationState's fields
    return snapshot._replace(states={**snapshot.states, scope: snapshot.states[scope]._replace(**changes)})


def regranted(snapshot: Snapshot, changes: Mapping[str, Any]) -> Snapshot:
    assert snapshot.grant is not None
    return snapshot._replace(grant=snapshot.grant._replace(**changes))


# decide: a pure rule


def test_decide_returns_the_config_of_the_key_and_its_version(parts: Parts) -> None:
    token, snapshot = facts(parts)
    config, admitting, _ = decide(CALL, token, snapshot, NOW)
    assert config == KeyConfig("openai", parts.versions["openai"])
    assert admitting.name == "app"


@pytest.mark.parametrize("scope", SCOPES)
def test_decide_refuses_what_is_blocked_with_403(parts: Parts, scope: str) -> None:
    token, snapshot = facts(parts)
    snapshot = changed(snapshot, scope, blocks=(("r", None),), epoch=1)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == (f"revoked_{scope}", "revoked", 403)


@pytest.mark.parametrize("scope", SCOPES)
def test_decide_refuses_an_old_epoch_with_401(parts: Parts, scope: str) -> None:
    token, snapshot = facts(parts)
    snapshot = changed(snapshot, scope, epoch=1)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == (f"stale_{scope}", "invalid_token", 401)


def test_decide_names_a_block_before_an_epoch(parts: Parts) -> None:
    token, snapshot = facts(parts)
    snapshot = changed(changed(snapshot, "everything", epoch=1), "token", blocks=(("r", None),), epoch=1)
    assert refused(lambda: decide(CALL, token, snapshot, NOW)).reason == "revoked_token"


@pytest.mark.parametrize("scope", SCOPES)
def test_decide_refuses_when_a_thing_was_left_unread(parts: Parts, scope: str) -> None:
    token, snapshot = facts(parts)
    snapshot = snapshot._replace(states={name: one for name, one in snapshot.states.items() if name != scope})
    assert refused(lambda: decide(CALL, token, snapshot, NOW)).reason == f"revoked_{scope}"


def test_decide_holds_a_block_until_its_end_and_not_longer(parts: Parts) -> None:
    token, snapshot = facts(parts)
    snapshot = changed(snapshot, "principal", blocks=(("r", NOW + 10),))
    assert refused(lambda: decide(CALL, token, snapshot, NOW + 9)).reason == "revoked_principal"
    assert decide(CALL, token, snapshot, NOW + 10)


@pytest.mark.parametrize("ep", [None, "0", [0, 0, 0, 0], [0] * 6, {}])
def test_decide_refuses_epochs_that_are_not_five(parts: Parts, ep: object) -> None:
    token, snapshot = facts(parts, ep=ep)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.status) == ("stale_everything", 401)


@pytest.mark.parametrize("signing", [(), ("another",)])
def test_decide_refuses_a_signing_key_that_is_no_longer_listed(parts: Parts, signing: tuple[str, ...]) -> None:
    token, snapshot = facts(parts)
    snapshot = snapshot._replace(signing_keys=signing)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == ("signing_key_gone", "invalid_token", 401)


@pytest.mark.parametrize("scope", ["grant", "key"])
def test_decide_refuses_when_grant_or_key_is_gone(parts: Parts, scope: str) -> None:
    token, snapshot = facts(parts)
    refusal = refused(lambda: decide(CALL, token, snapshot._replace(**{scope: None}), NOW))  # type: ignore[arg-type]  # a field's name
    assert (refusal.reason, refusal.status) == ("grant_gone", 403)


@pytest.mark.parametrize("change", [{"key": "anthropic"}, {"issuer": "https://another.example"}])
def test_decide_refuses_when_the_grant_is_now_for_something_else(parts: Parts, change: dict[str, str]) -> None:
    token, snapshot = facts(parts)
    snapshot = regranted(snapshot, change)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.status) == ("grant_changed", 403)


def test_decide_goes_by_the_grant_as_it_stands_now(parts: Parts) -> None:
    token, snapshot = facts(parts)
    snapshot = regranted(snapshot, {"scope": ("GET:/v1/models",)})
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == ("out_of_scope", "insufficient_scope", 403)


@pytest.mark.parametrize("path", ["/v1/organization", "/v1/organization/admin_api_keys"])
def test_decide_refuses_closed_paths_even_where_a_grant_opens_them(parts: Parts, path: str) -> None:
    token, snapshot = facts(parts)
    snapshot = regranted(snapshot, {"scope": (f"POST:{path}",)})
    refusal = refused(lambda: decide(replace(CALL, path=path), token, snapshot, NOW))
    assert (refusal.reason, refusal.status) == ("path_closed", 403)


def test_decide_tells_the_longest_window_that_is_used_up(parts: Parts) -> None:
    token, snapshot = facts(parts)
    snapshot = snapshot._replace(numbers={"minute": 101, "hour": 1001, "day": 1001})
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == ("quota_calls", "quota_exceeded", 429)
    assert refusal.retry_after == 57_600
    minute = refused(lambda: decide(CALL, token, snapshot._replace(numbers={"minute": 101, "day": 1000}), NOW + 15))
    assert minute.retry_after == 45


def test_decide_admits_the_last_number_of_a_limit_and_none_after_it(parts: Parts) -> None:
    token, snapshot = facts(parts)
    assert decide(CALL, token, snapshot._replace(numbers={"minute": 100, "hour": 1000, "day": 1000}), NOW)
    for numbers in ({"minute": 101, "day": 1}, {"minute": 1, "day": 1001}, {"minute": 1}):
        snapshot = snapshot._replace(numbers=numbers)
        assert refused(lambda: decide(CALL, token, snapshot, NOW)).reason == "quota_calls"  # noqa: B023  called at once


def test_a_standing_that_was_never_written_is_no_stop_but_a_missing_grant(parts: Parts) -> None:
    token, snapshot = facts(parts)
    states = {**snapshot.states, "grant": RevocationState()}
    snapshot = snapshot._replace(states=states, grant=None)
    assert refused(lambda: decide(CALL, token, snapshot, NOW)).reason == "grant_gone"


# admit: without state


def test_no_token_is_401_and_touches_no_state(parts: Parts) -> None:
    refusal = refused(lambda: parts.admit(""))
    assert (refusal.reason, refusal.error, refusal.status) == ("token_missing", "invalid_token", 401)
    assert parts.counted() == {}


def test_a_token_out_of_its_own_scope_is_403_and_touches_no_state(parts: Parts) -> None:
    token = parts.exchange(scope=frozenset({"GET:/v1/models"})).access_token
    refusal = refused(lambda: parts.admit(token))
    assert (refusal.reason, refusal.error, refusal.status) == ("out_of_scope", "insufficient_scope", 403)
    assert parts.counted() == {}


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
def test_a_token_of_ours_that_breaks_a_rule_is_401(parts: Parts, change: dict[str, object], reason: str) -> None:
    token = parts.sign({**claims_of(parts.token()), **change})
    refusal = refused(lambda: parts.admit(token))
    assert (refusal.reason, refusal.error, refusal.status) == (reason, "invalid_token", 401)
    assert parts.counted() == {}


def test_a_token_with_another_signature_is_401(parts: Parts) -> None:
    head, _, signature = parts.token().rpartition(".")
    other = ("B" if signature[0] == "A" else "A") + signature[1:]
    assert refused(lambda: parts.admit(f"{head}.{other}")).reason == "signature_wrong"


def test_a_subject_token_opens_nothing_at_the_edge(parts: Parts) -> None:
    refusal = refused(lambda: parts.admit(mint(aud="openai")))
    assert (refusal.reason, refusal.status) == ("kid_unknown", 401)


def test_what_is_wrong_with_a_token_is_not_told_but_that_it_has_expired(parts: Parts) -> None:
    claims = claims_of(parts.token())
    for token in ("x", "a.b.c", parts.sign({**claims, "jti": ""}), parts.sign({**claims, "iss": "https://x.example"})):
        assert refused(partial(parts.admit, token)).description == "not a valid token for this"
    assert "expired" in refused(lambda: parts.admit(parts.sign(claims), now=NOW + 931)).description


# admit: with state


def test_a_call_that_is_admitted_gets_the_key_and_says_who_it_was(parts: Parts) -> None:
    token = parts.token()
    admitted = parts.admit(token)
    assert admitted.key.reveal() == f"Bearer {KEY_VALUE}"
    assert (admitted.principal, admitted.grant, admitted.jti) == (SUB, "app", claims_of(token)["jti"])


@pytest.mark.parametrize("scope", SCOPES)
def test_a_revocation_holds_from_the_next_call_and_its_end_does_not_revive(parts: Parts, scope: str) -> None:
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


def test_a_refusal_after_verification_says_whom_it_concerns(parts: Parts) -> None:
    token = parts.token()
    parts.revoke("principal", SUB)
    about = refused(lambda: parts.admit(token)).about
    assert about == {"key": "openai", "grant": "app", "principal": SUB, "jti": claims_of(token)["jti"]}
    assert refused(lambda: parts.admit("x")).about == {}


def test_a_narrower_grant_holds_from_the_next_call(parts: Parts) -> None:
    token = parts.token()
    parts.admit(token)
    parts.apply(grant(scope='["GET:/v1/models"]'))
    assert refused(lambda: parts.admit(token)).reason == "out_of_scope"
    parts.admit(token, "/v1/models", method="GET")


def test_a_wider_grant_does_not_widen_a_token_that_is_out(parts: Parts) -> None:
    token = parts.token()
    parts.apply(grant(scope='["POST:/v1/chat/completions", "POST:/v1/embeddings"]'))
    assert refused(lambda: parts.admit(token, "/v1/embeddings")).reason == "out_of_scope"


def test_a_lower_limit_holds_from_the_next_call(parts: Parts) -> None:
    token = parts.token()
    parts.admit(token)
    parts.admit(token)
    parts.apply(grant(quota="{tokens: 100/hour, calls: [2/minute, 1000/day]}"))
    refusal = refused(lambda: parts.admit(token))
    assert (refusal.reason, refusal.status, refusal.retry_after) == ("quota_calls", 429, 60)
    parts.admit(token, now=NOW + 60)


def test_a_grant_that_is_taken_out_of_the_policy_stops_its_tokens(parts: Parts) -> None:
    token = parts.token()
    parts.apply(grant().replace("  app:", "  other:"))
    assert refused(lambda: parts.admit(token)).reason == "grant_gone"


def test_a_limit_of_n_admits_exactly_n_per_principal(parts: Parts) -> None:
    parts.apply(grant(quota="{tokens: 100/hour, calls: [3/minute]}"))
    token, other = parts.token(), parts.token(repository_id="77")
    for _ in range(3):
        parts.admit(token)
    assert refused(lambda: parts.admit(token)).reason == "quota_calls"
    parts.admit(other)


def test_a_refused_call_gives_its_numbers_back_and_an_admitted_one_does_not(parts: Parts) -> None:
    parts.apply(grant(quota="{tokens: 100/hour, calls: [2/minute, 10/day]}"))
    token = parts.token()
    parts.admit(token)
    parts.admit(token)
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (2, 0))
    for _ in range(5):
        refused(lambda: parts.admit(token))
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (2, 5))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_revoked_call_burns_no_quota(parts: Parts, scope: str) -> None:
    token = parts.token()
    parts.revoke(scope, target(scope, token).id)
    refused(lambda: parts.admit(token))
    assert parts.counted()["day"] == (0, 1)


def test_a_rotation_holds_from_the_next_call(parts: Parts) -> None:
    token = parts.token()
    first = parts.admit(token).key
    second = parts.set_key("openai", "sk-rotated")
    key = parts.admit(token).key
    assert (key.version, key.reveal()) == (second, "Bearer sk-rotated")
    assert first.version != second


def test_a_value_that_is_not_in_force_yet_is_not_used(parts: Parts) -> None:
    token = parts.token()
    parts.admit(token)
    parts.set_key("openai", "sk-next", in_force=False)
    assert parts.admit(token).key.reveal() == f"Bearer {KEY_VALUE}"


def test_a_provider_key_version_that_is_missing_is_503_and_gives_the_numbers_back(parts: Parts) -> None:
    token = parts.token()
    parts.control.set_key("openai", samples.key_version("nobody-has-it"), parts.event("key.set"))
    with pytest.raises(Unavailable) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("provider_key_version", 503)
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (0, 1))


def test_a_key_without_any_value_is_503(parts: Parts) -> None:
    parts.apply(ISSUERS.replace("  anthropic:", "  internal: {provider: openai}\n  anthropic:") + grant_of("internal"))
    token = parts.exchange(audience="internal").access_token
    with pytest.raises(Unavailable, match="provider_key_missing"):
        parts.admit(token, key="internal")


def test_state_that_is_out_of_reach_is_503(parts: Parts) -> None:
    token = parts.token()
    (parts.directory / "state.db").rename(parts.directory / "gone.db")
    with pytest.raises(Unavailable) as caught:
        parts.admit(token)
    assert (caught.value.reason, caught.value.status) == ("state_unavailable", 503)


def test_a_call_counts_in_the_windows_of_its_time(parts: Parts) -> None:
    token = parts.token()
    parts.admit(token, now=NOW + 59)
    parts.admit(token, now=NOW + 60)
    with parts.state.reading() as connection:
        rows = connection.execute("SELECT window, start, taken FROM counters WHERE what = 'calls'").fetchall()
    day = NOW - 28_800
    assert set(rows) == {("minute", NOW, 1), ("minute", NOW + 60, 1), ("hour", NOW, 2), ("day", day, 2)}
    assert Counter("calls", "app", SUB, "minute", NOW) in counters("calls", "app", SUB, NOW + 59)


GARBAGE = [
    "",
    "not an address",
    "unknown",
    "198.51.100",
    "198.51.100.7.1",
    "198.51.100.256",
    "198.051.100.007",
    "0xc6336407",
    "3325256711",
    "198.51.100.7/32",
    "198.51.100.7:443",
    "[2001:db8::1]",
    "198.51.100.7, 203.0.113.1",
    " 198.51.100.7",
    "198.51.100.7\n",
    "١٩٨.51.100.7",
    "2001:db8::1::2",
    "2001:db8::1%",
    "::ffff:198.51.100.256",
]


def grant_of(key: str) -> str:
    return grant(key=key).removeprefix(ISSUERS)


# what a grant limits beside scope and calls


@pytest.mark.parametrize(
    ("networks", "address", "admitted"),
    [
        (["198.51.100.0/24"], "198.51.100.7", True),
        (["198.51.100.0/24"], "198.51.101.7", False),
        (["198.51.100.7/32"], "198.51.100.7", True),
        (["198.51.100.7/32"], "198.51.100.8", False),
        (["203.0.113.0/24", "198.51.100.0/24"], "198.51.100.255", True),
        (["198.51.100.0/24"], "::ffff:198.51.100.7", True),
        (["198.51.100.0/24"], "::FFFF:C633:6407", True),
        (["198.51.100.0/24"], "0:0:0:0:0:ffff:198.51.100.7", True),
        (["::/0"], "::ffff:198.51.100.7", False),
        (["198.51.100.0/24"], "::198.51.100.7", False),
        (["198.51.100.0/24"], "64:ff9b::198.51.100.7", False),
        (["198.51.100.0/24"], "2002:c633:6407::1", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "2001:0DB8:0000:0000:0000:0000:0000:0001", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["2001:db8::/32"], "198.51.100.7", False),
        (["fe80::/10"], "fe80::1", True),
        (["fe80::/10"], "fe80::1%eth0", False),
        (["::/0"], "2001:db8::1%1", False),
        (["198.51.100.0/24"], "::ffff:198.51.100.7%eth0", False),
        ([], "198.51.100.7", False),
        *((["0.0.0.0/0", "::/0"], garbage, False) for garbage in GARBAGE),
    ],
)
def test_a_grant_with_source_ips_admits_those_addresses_only(
    parts: Parts,
    networks: list[str],
    address: str,
    admitted: bool,  # noqa: FBT001  a column of the table
) -> None:
    token, snapshot = facts(parts)
    call, limited = replace(CALL, source_ip=address), regranted(snapshot, {"source_ips": networks})
    if admitted:
        assert decide(call, token, limited, NOW)
    else:
        refusal = refused(lambda: decide(call, token, limited, NOW))
        assert (refusal.reason, refusal.status) == ("address_refused", 403)


def saying(model: str, **changes: Any) -> CallBody:  # noqa: ANN401  CallBody's fields
    """The body of a chat completion."""
    content = base64.b64encode(json.dumps({"model": model, "messages": []}).encode()).decode()
    return replace(CallBody(content, truncated=False, content_types=("application/json",)), **changes)


def test_a_grant_that_limits_models_admits_those_only(parts: Parts) -> None:
    token, snapshot = facts(parts)
    limited = regranted(snapshot, {"models": ["gpt-5-mini"]})
    assert decide(replace(CALL, body=saying("gpt-5-mini")), token, limited, NOW)
    refusal = refused(lambda: decide(replace(CALL, body=saying("gpt-5")), token, limited, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == ("model_not_allowed", "model_not_allowed", 403)


def test_a_grant_with_an_empty_list_of_models_admits_none(parts: Parts) -> None:
    token, snapshot = facts(parts)
    call = replace(CALL, body=saying("gpt-5-mini"))
    refusal = refused(lambda: decide(call, token, regranted(snapshot, {"models": []}), NOW))
    assert refusal.reason == "model_not_allowed"


def test_a_body_is_read_only_where_a_grant_limits_models(parts: Parts) -> None:
    token, snapshot = facts(parts)
    unreadable = saying("", encoded="no base64", truncated=True, content_encodings=("gzip",))
    for body in (unreadable, NOT_SHOWN):
        call = replace(CALL, body=body)
        assert decide(call, token, snapshot, NOW)
        with pytest.raises(Refusal):
            decide(call, token, regranted(snapshot, {"models": ["gpt-5-mini"]}), NOW)


def test_models_are_looked_at_after_scope_and_address_and_before_quotas(parts: Parts) -> None:
    token, snapshot = facts(parts)
    wrong = regranted(snapshot._replace(numbers={"minute": 101, "hour": 1, "day": 1}), {"models": ["gpt-5-mini"]})

    def reason(changed: Snapshot, model: str = "gpt-5") -> str:
        return refused(lambda: decide(replace(CALL, body=saying(model)), token, changed, NOW)).reason

    assert reason(wrong, "gpt-5-mini") == "quota_calls"
    assert reason(wrong) == "model_not_allowed"
    assert reason(regranted(wrong, {"source_ips": ["198.51.100.0/24"]})) == "address_refused"
    assert reason(regranted(wrong, {"scope": ["GET:/v1/models"]})) == "out_of_scope"


def test_a_call_that_is_refused_for_its_model_gives_its_numbers_back(parts: Parts) -> None:
    parts.apply(grant(models="[gpt-5-mini]"))
    token = parts.token()
    call = Call(token, "openai", "POST", CHAT, body=saying("gpt-5"))
    refusal = refused(lambda: admit(call, parts.edge_parts(), NOW))
    assert (refusal.reason, refusal.about["grant"]) == ("model_not_allowed", "app")
    assert parts.counted() == dict.fromkeys(("minute", "hour", "day"), (0, 1))
    admit(replace(call, body=saying("gpt-5-mini")), parts.edge_parts(), NOW)
    assert parts.counted()["day"] == (1, 1)


def test_models_that_a_grant_gets_hold_from_the_next_call(parts: Parts) -> None:
    token = parts.token()
    call = Call(token, "openai", "POST", CHAT, body=saying("gpt-5"))
    admit(call, parts.edge_parts(), NOW)
    parts.apply(grant(models="[gpt-5-mini]"))
    assert refused(lambda: admit(call, parts.edge_parts(), NOW)).reason == "model_not_allowed"


def test_a_total_is_shared_by_all_callers_of_a_grant(parts: Parts) -> None:
    parts.apply(grant(total="{calls: 3/day}"))
    ada, bob = parts.token(), parts.token(repository_id="99")
    assert [bool(parts.admit(token)) for token in (ada, bob, ada)] == [True] * 3
    refusal = refused(lambda: parts.admit(bob))
    assert (refusal.reason, refusal.status) == ("quota_calls", 429)
    assert parts.counted()["day"] == (6, 2), "three calls, each counted for its caller and for all, and both given back"


# what stands in each other's way


class InTheWay:
    """A gate where, each time that a call is counted, others have just been that are going to be refused.

    times: how often. then: done once the first of them has given back its numbers.
    """

    def __init__(self, real: EdgeState, times: int, then: Callable[[], object] = lambda: None) -> None:
        self._real, self._left, self._then = real, times, then
        self._pending = False

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        if self._left:
            self._left, self._pending = self._left - 1, True
            self.count(counters)
        return self._real.read_and_count(targets, counters, total, again)

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        return self._real.count(counters)

    def give_back(self, counters: tuple[Counter, ...], reason: str) -> None:
        self._real.give_back(counters, reason)
        if self._pending:
            self._pending = False
            self._real.give_back(counters, "another")
            self._then()

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        return self._real.taken(counters)


def attempt_in_the_way(parts: Parts, times: int, then: Callable[[], object] = lambda: None) -> None:
    parts.apply(grant(quota="{tokens: 100/hour, calls: [1/minute, 1/day]}"))
    call = Call(parts.token(), "openai", "POST", CHAT)
    admit(call, replace(parts.edge_parts(), state=InTheWay(parts.edge_state, times, then)), NOW)


def test_what_others_took_and_gave_back_is_given_to_the_call_that_was_beyond_a_limit_by_it(parts: Parts) -> None:
    attempt_in_the_way(parts, 1)
    assert set(parts.counted().values()) == {(1, 1)}, "the other one alone was refused"


def test_a_call_is_counted_eight_times_at_most(parts: Parts) -> None:
    assert refused(lambda: attempt_in_the_way(parts, 8)).reason == "quota_calls"
    assert set(parts.counted().values()) == {(0, 9)}, "eight others, and this one once"


def test_what_was_revoked_meanwhile_is_refused_for_that(parts: Parts) -> None:
    refusal = refused(lambda: attempt_in_the_way(parts, 1, lambda: parts.revoke("principal", SUB)))
    assert refusal.reason == "revoked_principal"
    assert set(parts.counted().values()) == {(0, 2)}
