from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.edge.call import Call
from chalicelib.edge.decision import decide
from chalicelib.edge.state import Snapshot
from chalicelib.edge.token import VerifiedToken
from chalicelib.errors import Refusal
from chalicelib.models.body import NOT_SHOWN, CallBody
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import Limit, counters
from chalicelib.revocation import SCOPES, RevocationState
from chalicelib.tokens.verify import Claims
from tests.edge_function import chat_body
from tests.parts import NOW, SUB, Parts, claims_of
from tests.refused import refused

CALL = Call("decide does not read it", "openai", "POST", "/v1/chat/completions")
Facts = tuple[VerifiedToken, Snapshot]
"""What `decide` gets of a call that it admits."""


@pytest.fixture
def facts(parts: Parts) -> Facts:
    """A token, and what the state says of it."""
    return read(parts)


def read(parts: Parts, **claims: object) -> Facts:
    """Read the facts of a new token. claims: those that are changed after it was issued."""
    said = Claims({**claims_of(parts.token()), **claims})
    token = VerifiedToken.from_claims(said, parts.signer.kid())
    return token, parts.edge_state.read_and_count(token.targets("openai"), counters("calls", "app", SUB, NOW))


def changed(snapshot: Snapshot, scope: str, **changes: Any) -> Snapshot:  # noqa: ANN401  RevocationState's fields
    return snapshot._replace(states={**snapshot.states, scope: snapshot.states[scope]._replace(**changes)})


def regranted(snapshot: Snapshot, changes: Mapping[str, Any]) -> Snapshot:
    assert snapshot.grant is not None
    return snapshot._replace(grant=snapshot.grant._replace(**changes))


def test_decision(parts: Parts, facts: Facts) -> None:
    """A decision holds key, version and grant as they are now."""
    token, snapshot = facts
    config, admitting, _ = decide(CALL, token, snapshot, NOW)
    assert config == KeyConfig("openai", parts.versions["openai"])
    assert admitting.name == "app"


@pytest.mark.parametrize("scope", SCOPES)
def test_block_is_403(facts: Facts, scope: str) -> None:
    """A block of any of the six targets is a 403."""
    token, snapshot = facts
    snapshot = changed(snapshot, scope, blocks=(("r", None),), epoch=1)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == (f"revoked_{scope}", "revoked", 403)


@pytest.mark.parametrize("scope", SCOPES)
def test_old_epoch_is_401(facts: Facts, scope: str) -> None:
    """An epoch older than that of any of the six targets is a 401."""
    token, snapshot = facts
    snapshot = changed(snapshot, scope, epoch=1)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == (f"stale_{scope}", "invalid_token", 401)


def test_block_comes_before_epoch(facts: Facts) -> None:
    """Of a block and an old epoch, the block is named."""
    token, snapshot = facts
    snapshot = changed(changed(snapshot, "everything", epoch=1), "token", blocks=(("r", None),), epoch=1)
    assert refused(lambda: decide(CALL, token, snapshot, NOW)).reason == "revoked_token"


@pytest.mark.parametrize("scope", SCOPES)
def test_unread_target_is_refused(facts: Facts, scope: str) -> None:
    """A target that was left unread counts as blocked."""
    token, snapshot = facts
    snapshot = snapshot._replace(states={name: one for name, one in snapshot.states.items() if name != scope})
    assert refused(lambda: decide(CALL, token, snapshot, NOW)).reason == f"revoked_{scope}"


def test_block_ends_on_time(facts: Facts) -> None:
    """A block holds until its end, and no longer."""
    token, snapshot = facts
    snapshot = changed(snapshot, "principal", blocks=(("r", NOW + 10),))
    assert refused(lambda: decide(CALL, token, snapshot, NOW + 9)).reason == "revoked_principal"
    assert decide(CALL, token, snapshot, NOW + 10)


_BLOCKS = st.sampled_from([(), (("r", None),), (("r", NOW),), (("r", NOW + 1),)])
_STATES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(SCOPES, st.builds(RevocationState, st.integers(0, 1), _BLOCKS))
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_STATES, st.booleans())
def test_untouched_says_what_each_target_says(facts: Facts, changes: dict[str, RevocationState], is_read: bool) -> None:  # noqa: FBT001  hypothesis
    """A token under which nothing was revoked is found so at once, and no other is: each state says the same by itself."""
    token, snapshot = facts
    states = {**snapshot.states, **changes} if is_read else changes
    found = snapshot._replace(states=states)
    alone = token._replace(untouched={})

    def outcome(one: VerifiedToken) -> object:
        try:
            return decide(CALL, one, found, NOW)
        except Refusal as refusal:
            return refusal.reason

    assert outcome(token) == outcome(alone)


@pytest.mark.parametrize("ep", [None, "0", [0, 0, 0, 0], [0] * 6, {}])
def test_epochs_must_be_five(parts: Parts, ep: object) -> None:
    """A token whose epochs are not five is stale."""
    token, snapshot = read(parts, ep=ep)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.status) == ("stale_everything", 401)


@pytest.mark.parametrize("signing", [(), ("another",)])
def test_unlisted_signing_key(facts: Facts, signing: tuple[str, ...]) -> None:
    """A token of a signing key that is no longer listed is a 401."""
    token, snapshot = facts
    snapshot = snapshot._replace(signing_keys=signing)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == ("signing_key_gone", "invalid_token", 401)


@pytest.mark.parametrize("scope", ["grant", "key"])
def test_grant_or_key_is_gone(facts: Facts, scope: str) -> None:
    """A token whose grant or key is gone is a 403."""
    token, snapshot = facts
    refusal = refused(lambda: decide(CALL, token, snapshot._replace(**{scope: None}), NOW))  # type: ignore[arg-type]  # a field's name
    assert (refusal.reason, refusal.status) == ("grant_gone", 403)


@pytest.mark.parametrize("change", [{"key": "anthropic"}, {"issuer": "https://another.example"}])
def test_grant_has_changed(facts: Facts, change: dict[str, str]) -> None:
    """A token whose grant is now for another key or issuer is a 403."""
    token, snapshot = facts
    snapshot = regranted(snapshot, change)
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.status) == ("grant_changed", 403)


def test_current_scope_of_the_grant(facts: Facts) -> None:
    """The grant's scope counts as it is now."""
    token, snapshot = facts
    snapshot = regranted(snapshot, {"scope": ("GET:/v1/models",)})
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == ("out_of_scope", "insufficient_scope", 403)


@pytest.mark.parametrize("path", ["/v1/organization", "/v1/organization/admin_api_keys"])
def test_closed_paths(facts: Facts, path: str) -> None:
    """A closed path is refused even if a grant opens it."""
    token, snapshot = facts
    snapshot = regranted(snapshot, {"scope": (f"POST:{path}",)})
    refusal = refused(lambda: decide(replace(CALL, path=path), token, snapshot, NOW))
    assert (refusal.reason, refusal.status) == ("path_closed", 403)


def test_longest_used_up_window(facts: Facts) -> None:
    """Of several used-up windows, the one that ends last is told."""
    token, snapshot = facts
    snapshot = snapshot._replace(numbers={"minute": 101, "hour": 1001, "day": 1001})
    refusal = refused(lambda: decide(CALL, token, snapshot, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == ("quota_calls", "quota_exceeded", 429)
    assert refusal.retry_after == 57_600
    minute = refused(lambda: decide(CALL, token, snapshot._replace(numbers={"minute": 101, "day": 1000}), NOW + 15))
    assert minute.retry_after == 45


def test_last_call_of_a_limit(facts: Facts) -> None:
    """The last call within a limit is admitted, and none after it."""
    token, snapshot = facts
    assert decide(CALL, token, snapshot._replace(numbers={"minute": 100, "hour": 1000, "day": 1000}), NOW)
    for numbers in ({"minute": 101, "day": 1}, {"minute": 1, "day": 1001}, {"minute": 1}):
        snapshot = snapshot._replace(numbers=numbers)
        assert refused(lambda: decide(CALL, token, snapshot, NOW)).reason == "quota_calls"  # noqa: B023  called at once


def test_grant_without_state(facts: Facts) -> None:
    """A grant without any state is not revoked but gone."""
    token, snapshot = facts
    states = {**snapshot.states, "grant": RevocationState()}
    snapshot = snapshot._replace(states=states, grant=None)
    assert refused(lambda: decide(CALL, token, snapshot, NOW)).reason == "grant_gone"


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
def test_source_ips(
    facts: Facts,
    networks: list[str],
    address: str,
    admitted: bool,  # noqa: FBT001  a column of the table
) -> None:
    """A grant with `source_ips` admits those addresses only."""
    token, snapshot = facts
    call, limited = replace(CALL, source_ip=address), regranted(snapshot, {"source_ips": networks})
    if admitted:
        assert decide(call, token, limited, NOW)
    else:
        refusal = refused(lambda: decide(call, token, limited, NOW))
        assert (refusal.reason, refusal.status) == ("address_refused", 403)


def test_models(facts: Facts) -> None:
    """A grant with `models` admits those models only."""
    token, snapshot = facts
    limited = regranted(snapshot, {"models": ["gpt-5-mini"]})
    assert decide(replace(CALL, body=chat_body("gpt-5-mini")), token, limited, NOW)
    refusal = refused(lambda: decide(replace(CALL, body=chat_body("gpt-5")), token, limited, NOW))
    assert (refusal.reason, refusal.error, refusal.status) == ("model_not_allowed", "model_not_allowed", 403)


def test_empty_models(facts: Facts) -> None:
    """A grant with an empty list of models admits none."""
    token, snapshot = facts
    call = replace(CALL, body=chat_body("gpt-5-mini"))
    refusal = refused(lambda: decide(call, token, regranted(snapshot, {"models": []}), NOW))
    assert refusal.reason == "model_not_allowed"


def test_body_is_read_for_models_only(facts: Facts) -> None:
    """A body is read only where a grant limits models."""
    token, snapshot = facts
    unreadable = chat_body("", encoded="no base64", truncated=True, content_encodings=("gzip",))
    for body in (unreadable, NOT_SHOWN):
        call = replace(CALL, body=body)
        assert decide(call, token, snapshot, NOW)
        with pytest.raises(Refusal):
            decide(call, token, regranted(snapshot, {"models": ["gpt-5-mini"]}), NOW)


def test_order_of_checks(facts: Facts) -> None:
    """Models are checked last: after scope, address and quota."""
    token, snapshot = facts
    wrong = regranted(snapshot._replace(numbers={"minute": 101, "hour": 1, "day": 1}), {"models": ["gpt-5-mini"]})

    def reason(changed: Snapshot, model: str = "gpt-5") -> str:
        return refused(lambda: decide(replace(CALL, body=chat_body(model)), token, changed, NOW)).reason

    within = wrong._replace(numbers={"minute": 1, "hour": 1, "day": 1})
    assert reason(within) == "model_not_allowed"
    assert reason(wrong, "gpt-5-mini") == reason(wrong) == "quota_calls"
    assert reason(regranted(wrong, {"source_ips": ["198.51.100.0/24"]})) == "address_refused"
    assert reason(regranted(wrong, {"scope": ("GET:/v1/models",)})) == "out_of_scope"


def test_no_body_is_read_beyond_the_quota(facts: Facts) -> None:
    """A call beyond a quota, its own or all callers', is refused before its body is read."""
    token, snapshot = facts
    limited = regranted(snapshot, {"models": ["gpt-5-mini"], "total_limits": (Limit(1, "day"),)})
    over = {"minute": 101, "hour": 101, "day": 101}
    unread = replace(CALL, body=CallBody(content_types=("application/json",)))  # it would be a 503 if it were read
    own, of_all = limited._replace(numbers=over), limited._replace(total=over)
    assert refused(lambda: decide(unread, token, own, NOW)).reason == "quota_calls"
    assert refused(lambda: decide(unread, token, of_all, NOW)).reason == "quota_calls"
    assert refused(lambda: decide(unread, token, limited, NOW)).reason == "body_not_shown"
