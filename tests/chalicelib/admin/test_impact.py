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


def estimate(parts: Parts, scope: str, target: str, now: int = NOW) -> Impact:
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


def test_each_scope(parts: Parts) -> None:
    """Each scope cuts off exactly the principals with live tokens of the target."""
    tokens = three(parts)
    jti = str(claims_of(tokens[OTHER])["jti"])
    assert sorted(subs(estimate(parts, "everything", "*"))) == sorted([SUB, OTHER, POD])
    assert sorted(subs(estimate(parts, "issuer", CI))) == sorted([SUB, OTHER])
    assert sorted(subs(estimate(parts, "key", "openai"))) == sorted([SUB, OTHER, POD])
    assert subs(estimate(parts, "key", "anthropic")) == []
    assert sorted(subs(estimate(parts, "grant", "app"))) == sorted([SUB, OTHER])
    assert subs(estimate(parts, "grant", "pods")) == [POD]
    assert subs(estimate(parts, "principal", SUB)) == [SUB]
    assert subs(estimate(parts, "principal", "nobody")) == []
    assert subs(estimate(parts, "token", jti)) == [OTHER]
    assert subs(estimate(parts, "token", "another")) == []


@pytest.mark.parametrize(
    ("scope", "target"), [("principal", SUB), ("grant", "pods"), ("issuer", CI), ("key", "openai")]
)
def test_estimate_matches_revocation(parts: Parts, scope: str, target: str) -> None:
    """The estimate names exactly the principals that the revocation then cuts off."""
    tokens = three(parts)
    named = set(subs(estimate(parts, scope, target)))
    parts.revoke(scope, target)
    for sub, token in tokens.items():
        if sub in named:
            with pytest.raises(Refusal, match=f"revoked_{scope}"):
                parts.admit(token)
        else:
            parts.admit(token)


def test_counts_and_order(parts: Parts) -> None:
    """Tokens, grants and calls are counted per principal, most calls first."""
    text = grant() + "  both:\n    key: openai\n    to: {issuer: ci, claims: {repository_id: '1234'}}\n"
    parts.apply(text + "    scope: ['GET:/v1/models']\n    quota: {tokens: 9/hour, calls: 9/minute}\n")
    first, second = (parts.exchange(mint(), grant=name).access_token for name in ("app", "both"))
    busy = parts.exchange(mint(repository_id="5"), grant="app").access_token
    for _ in range(3):
        parts.admit(busy)
    parts.admit(first)
    parts.admit(second, "/v1/models", method="GET")
    found = estimate(parts, "issuer", CI)
    assert [(one.principal, one.grants, one.live_tokens, one.calls_last_hour) for one in found.principals] == [
        (OTHER, ("app",), 1, 3),
        (SUB, ("app", "both"), 2, 2),
    ]
    assert (found.to_json()["tokens"], found.to_json()["calls_last_hour"], found.complete) == (3, 5, True)
    assert [one.name for one in found.principals] == ["octo-org/app"] * 2


def test_expired_token(parts: Parts) -> None:
    """An expired token is not counted."""
    record(parts, issued(1), issued(2, expires=NOW + 60), issued(3, NOW - TTL_CEILING, expires=NOW))
    assert len(subs(estimate(parts, "grant", "app", NOW + 59))) == 2
    assert subs(estimate(parts, "grant", "app", NOW + 60)) == [issued(1).principal]
    assert subs(estimate(parts, "grant", "app", NOW + 900)) == []


def test_token_lifetime(parts: Parts) -> None:
    """A token counts as live until the expiry in its event."""
    record(parts, issued(1, NOW - TTL_CEILING + 1, expires=NOW + 1))
    assert subs(estimate(parts, "everything", "*")) == [issued(1).principal]


def test_refused_token(parts: Parts) -> None:
    """A refused token is not counted."""
    with pytest.raises(Refusal, match="no_grant"):
        parts.exchange(mint(ref="x"))
    assert subs(estimate(parts, "principal", SUB)) == []


@pytest.mark.parametrize("scope", ["issuer", "key", "grant"])
def test_unknown_target(parts: Parts, scope: str) -> None:
    """A target that never existed is refused as a revocation of it would be."""
    with pytest.raises(Refusal) as caught:
        estimate(parts, scope, "no-such")
    refused = caught.value
    assert (refused.reason, refused.error, refused.status) == ("no_such_thing", "not_found", 404)


@pytest.mark.parametrize("revoked", [True, False])
def test_removed_grant(parts: Parts, *, revoked: bool) -> None:
    """A grant that was removed can be estimated, as it can be revoked, whether it ever was or not."""
    if revoked:
        parts.restore(parts.revoke("grant", "app"))
    parts.apply(grant().replace("  app:", "  later:"))
    assert estimate(parts, "grant", "app").complete


def test_estimate_limit(parts: Parts) -> None:
    """Beyond the limit of events, the estimate is not complete."""
    record(parts, *(issued(number) for number in range(LOOKED_AT)))
    found = estimate(parts, "everything", "*")
    assert (len(found.principals), found.complete) == (LOOKED_AT, True)
    record(parts, issued(LOOKED_AT))
    found = estimate(parts, "everything", "*")
    assert (len(found.principals), found.complete) == (LOOKED_AT, False)
    assert estimate(parts, "principal", issued(7).principal).complete


def test_estimate_unavailable(parts: Parts) -> None:
    """Unavailable state is an error, never an empty estimate."""
    (parts.directory / "state.db").rename(parts.directory / "gone.db")
    with pytest.raises(Unavailable):
        estimate(parts, "everything", "*")
