from __future__ import annotations

import json
from dataclasses import replace

import pytest

from chalicelib.admin import impact
from chalicelib.admin.impact import LOOKED_AT, Impact
from chalicelib.audit import Event
from chalicelib.errors import Refusal, Unavailable
from chalicelib.revocation import RevocationTarget
from chalicelib.tokens.verify import TTL_CEILING
from local.sqlite.usage import SqliteUsage
from tests.parts import CI, CLUSTER, NOW, SUB, Parts, claims_of, grant, mint

POD = f"{CLUSTER}|sub:system:serviceaccount:prod:web"
OTHER = f"{CI}|repository_id:5"


def of(parts: Parts, scope: str, target: str, now: int = NOW) -> Impact:
    return impact.estimate(RevocationTarget(scope, target), parts.control, parts.ledger, SqliteUsage(parts.state), now)


def subs(found: Impact) -> list[str]:
    return [one.principal for one in found.principals]


def issued(number: int, at: int = NOW, **changes: object) -> Event:
    """An event as an exchange writes it."""
    event = Event(
        id=f"e-{number}",
        at=at,
        kind="token.issued",
        request_id="r",
        principal=f"{CI}|repository_id:{number}",
        principal_name=f"octo-org/{number}",
        issuer=CI,
        key="openai",
        grant="app",
        jti=f"j-{number}",
        expires=at + 900,
    )
    return replace(event, **changes)  # type: ignore[arg-type]  # fields by name


def record(parts: Parts, *events: Event) -> None:
    """Write many events at once."""
    with parts.state.writing() as connection:
        connection.executemany(
            "INSERT INTO audit (at, kind, request_id, principal, grant_name, key, event) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(e.at, e.kind, e.request_id, e.principal, e.grant, e.key, json.dumps(e.to_json())) for e in events],
        )


def three(parts: Parts) -> dict[str, str]:
    """Two repositories and a pod, each with a token; return the tokens."""
    pod = mint(issuer=CLUSTER, sub="system:serviceaccount:prod:web")
    return {
        SUB: parts.token(),
        OTHER: parts.token(repository_id="5"),
        POD: parts.exchange(pod, grant="pods").access_token,
    }


def test_each_scope_cuts_off_those_whose_tokens_are_of_it_and_nobody_else(parts: Parts) -> None:
    tokens = three(parts)
    jti = str(claims_of(tokens[OTHER])["jti"])
    assert sorted(subs(of(parts, "everything", "*"))) == sorted([SUB, OTHER, POD])
    assert sorted(subs(of(parts, "issuer", CI))) == sorted([SUB, OTHER])
    assert sorted(subs(of(parts, "key", "openai"))) == sorted([SUB, OTHER, POD])
    assert subs(of(parts, "key", "anthropic")) == []
    assert sorted(subs(of(parts, "grant", "app"))) == sorted([SUB, OTHER])
    assert subs(of(parts, "grant", "pods")) == [POD]
    assert subs(of(parts, "principal", SUB)) == [SUB]
    assert subs(of(parts, "principal", "nobody")) == []
    assert subs(of(parts, "token", jti)) == [OTHER]
    assert subs(of(parts, "token", "another")) == []


@pytest.mark.parametrize(
    ("scope", "target"), [("principal", SUB), ("grant", "pods"), ("issuer", CI), ("key", "openai")]
)
def test_whom_it_names_the_real_thing_cuts_off_and_nobody_else(parts: Parts, scope: str, target: str) -> None:
    tokens = three(parts)
    named = set(subs(of(parts, scope, target)))
    parts.revoke(scope, target)
    for sub, token in tokens.items():
        if sub in named:
            with pytest.raises(Refusal, match=f"revoked_{scope}"):
                parts.admit(token)
        else:
            parts.admit(token)


def test_tokens_grants_and_calls_are_counted_for_each_principal_who_calls_most_first(parts: Parts) -> None:
    text = grant() + "  both:\n    key: openai\n    to: {issuer: ci, claims: {repository_id: '1234'}}\n"
    parts.apply(text + "    scope: ['GET:/v1/models']\n    quota: {tokens: 9/hour, calls: 9/minute}\n")
    first, second = (parts.exchange(mint(), grant=name).access_token for name in ("app", "both"))
    busy = parts.exchange(mint(repository_id="5"), grant="app").access_token
    for _ in range(3):
        parts.admit(busy)
    parts.admit(first)
    parts.admit(second, "/v1/models", method="GET")
    found = of(parts, "issuer", CI)
    assert [(one.principal, one.grants, one.live_tokens, one.calls_last_hour) for one in found.principals] == [
        (OTHER, ("app",), 1, 3),
        (SUB, ("app", "both"), 2, 2),
    ]
    assert (found.to_json()["tokens"], found.to_json()["calls_last_hour"], found.complete) == (3, 5, True)
    assert [one.name for one in found.principals] == ["octo-org/app"] * 2


def test_a_token_that_has_expired_is_cut_off_by_nothing(parts: Parts) -> None:
    record(parts, issued(1), issued(2, expires=NOW + 60), issued(3, NOW - TTL_CEILING, expires=NOW))
    assert len(subs(of(parts, "grant", "app", NOW + 59))) == 2
    assert subs(of(parts, "grant", "app", NOW + 60)) == [issued(1).principal]
    assert subs(of(parts, "grant", "app", NOW + 900)) == []


def test_a_token_lives_as_long_as_its_event_says_up_to_the_ceiling(parts: Parts) -> None:
    record(parts, issued(1, NOW - TTL_CEILING + 1, expires=NOW + 1))
    assert subs(of(parts, "everything", "*")) == [issued(1).principal]


def test_a_refused_token_is_not_a_live_one(parts: Parts) -> None:
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(ref="x"))
    assert subs(of(parts, "principal", SUB)) == []


@pytest.mark.parametrize("scope", ["issuer", "key", "grant"])
def test_what_never_was_is_refused_as_the_real_thing_would_be(parts: Parts, scope: str) -> None:
    with pytest.raises(Refusal) as caught:
        of(parts, scope, "no-such")
    refused = caught.value
    assert (refused.reason, refused.error, refused.status) == ("no_such_thing", "not_found", 404)


def test_a_grant_that_is_gone_but_was_revoked_once_can_be_asked_about(parts: Parts) -> None:
    parts.restore(parts.revoke("grant", "app"))
    parts.apply(grant().replace("  app:", "  later:"))
    assert of(parts, "grant", "app").complete


def test_so_many_events_are_looked_at_and_past_them_it_says_that_it_is_not_complete(parts: Parts) -> None:
    record(parts, *(issued(number) for number in range(LOOKED_AT)))
    found = of(parts, "everything", "*")
    assert (len(found.principals), found.complete) == (LOOKED_AT, True)
    record(parts, issued(LOOKED_AT))
    found = of(parts, "everything", "*")
    assert (len(found.principals), found.complete) == (LOOKED_AT, False)
    assert of(parts, "principal", issued(7).principal).complete


def test_state_that_is_away_is_said_and_not_taken_for_nobody(parts: Parts) -> None:
    (parts.directory / "state.db").rename(parts.directory / "gone.db")
    with pytest.raises(Unavailable):
        of(parts, "everything", "*")
