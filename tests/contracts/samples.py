"""Grants, issuers, locks, events and revocations to fill stores with."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace

from chalicelib import quota
from chalicelib.audit import Event
from chalicelib.edge import response_times
from chalicelib.edge.response_times import Responses
from chalicelib.exchange.ledger import Issuance, Lock, StateQuery
from chalicelib.issuers.presets import GENERIC
from chalicelib.issuers.registry import Issuer
from chalicelib.policy.compile import Policy
from chalicelib.policy.grants import Grant
from chalicelib.policy.plan import Policies, StoredPolicy
from chalicelib.policy.yaml_nodes import Document, MappingNode
from chalicelib.providers.versions import KeyVersion
from chalicelib.quota import Counter, Limit
from chalicelib.revocation import EVERYTHING, Revocation, RevocationTarget
from chalicelib.tokens.jws import parse
from chalicelib.usage import window_start

NOW = 1_800_000_000 - 1_800_000_000 % 86400
"""A time at which a minute, an hour and a day start."""
ISSUER = "https://ci.example.com"
SUB = f"{ISSUER}|sub:build-1"
SIX = {
    "everything": EVERYTHING,
    "issuer": RevocationTarget("issuer", ISSUER),
    "key": RevocationTarget("key", "openai"),
    "grant": RevocationTarget("grant", "ci"),
    "principal": RevocationTarget("principal", SUB),
    "token": RevocationTarget("token", "token-1"),
}
"""What a call reads, by scope."""


def new_id() -> str:
    """Return an id that no other process or thread makes."""
    return secrets.token_hex(8)


def jti_of(token: str) -> str:
    """Return the id of a token of ours."""
    return str(parse(token).unverified_claims["jti"])


def grant(name: str = "ci", calls: tuple[Limit, ...] = (), issued: tuple[Limit, ...] = (), **other: str) -> Grant:
    """Return a grant. calls, issued: limits of calls and of tokens, 1000/day unless given."""
    return Grant(
        name=name,
        key=other.get("key", "openai"),
        issuer=other.get("issuer", ISSUER),
        claims=((("sub",), ("build-1", "build-2")),),
        scope=("POST:/v1/chat/completions",),
        ttl=900,
        token_limits=issued or (Limit(1000, "day"),),
        call_limits=calls or (Limit(1000, "day"),),
    )


def issuer(url: str = ISSUER, *, single_use: bool = False) -> Issuer:
    """Return an OIDC issuer whose subjects are named by `sub`."""
    return Issuer(
        name="ci",
        url=url,
        preset="",
        audience="keybroker",
        algorithms=("ES256",),
        max_lifetime=3600,
        single_use=single_use,
        identity=GENERIC.identity,
        label=GENERIC.label,
        required=(),
        refused=(),
    )


def policy(*grants: Grant, keys: tuple[str, ...] = ("openai",), issuers: tuple[Issuer, ...] = ()) -> Policy:
    """Return a policy of these grants; with one OpenAI key and one issuer unless given."""
    known = {f"issuer-{number}": one for number, one in enumerate(issuers or (issuer(),))}
    made = {one.name: one for one in grants}
    return Policy(dict.fromkeys(keys, "openai"), known, made, Document("keybroker.yaml", MappingNode(1, {}, 0), ()))


def put_in_force(
    policies: Policies,
    *grants: Grant,
    keys: tuple[str, ...] = ("openai",),
    issuers: tuple[Issuer, ...] = (),
    at: int = NOW,
) -> StoredPolicy:
    """Put a policy in force, whatever was in force before; else as `policy`."""
    made, applied = policy(*grants, keys=keys, issuers=issuers), event("policy.applied", at=at)
    return policies.apply(made, "the text of the file", policies.current().version, applied)


def event(kind: object = "token.issued", **members: object) -> Event:
    """Return an event with an id of its own."""
    named = {"id": new_id(), "at": NOW, "kind": kind, "request_id": new_id(), **members}
    return Event(**named)  # type: ignore[arg-type]  # the test names members as it needs them


def revocation(scope: str, target: str, **members: object) -> Revocation:
    """Return a revocation with an id of its own."""
    made = Revocation(id=new_id(), scope=scope, target=target, reason="a test", author="tester", at=NOW)
    return made._replace(**members)  # type: ignore[arg-type]  # as above


def lock(name: str = "subject-1", **members: object) -> Lock:
    """Return the lock of a request without an Idempotency-Key. Its claims' token expires at NOW + 900."""
    claims: Mapping[str, object] = {"jti": new_id(), "iat": NOW, "exp": NOW + 900, "ep": [0, 1, 2, 3, 4]}
    made = Lock(id=name, expires=NOW + 960, idempotency="", request="request-1", claims=claims)
    return replace(made, **members)  # type: ignore[arg-type]  # as above


def issuance(*limits: Limit, lock: Lock | None = None, now: int = NOW, name: str = "ci") -> Issuance:
    """Return what is written with one token of SUB under the grant of this name."""
    counted = tuple((counter, limits) for counter in quota.counters("tokens", name, SUB, now))
    return Issuance(event(at=now, principal=SUB, grant=name, key="openai"), counted, lock)


def calls(now: int = NOW, name: str = "ci") -> tuple[Counter, ...]:
    """Return the counters of one call of SUB."""
    return quota.counters("calls", name, SUB, now)


def wanted(*targets: RevocationTarget, grant: str | None = None, now: int = NOW) -> StateQuery:
    """Return what an exchange of ISSUER for `openai` reads."""
    return StateQuery(targets or tuple(SIX.values()), ISSUER, "openai", grant, now)


def key_version(version: str, at: int = NOW) -> KeyVersion:
    """Return a version of a key."""
    return KeyVersion(version, "https://api.example.com", "authorization", "arn:aws:iam::123456789012:user/ada", at)


def one_answer(at: int, seconds: float, *, failed: bool) -> tuple[Responses, ...]:
    """An answer as it counts in each window. at: epoch seconds. seconds: to its first byte."""
    buckets = tuple(int(index == response_times.bucket(seconds)) for index in range(len(response_times.BOUNDS) + 1))
    return tuple(
        Responses(window, window_start(window, at), int(failed), buckets) for window in response_times.SHOWN_SECONDS
    )
