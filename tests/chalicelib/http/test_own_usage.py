"""`GET /usage`: what a caller sees of its own usage, and what someone who tries more sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn

import pytest

import app
from chalicelib.audit import Query
from chalicelib.budget import Reservation
from chalicelib.errors import Refusal, StateUnavailable
from chalicelib.exchange.ledger import ExchangeState, StateQuery
from chalicelib.usage import Use
from local.sqlite.budgets import SqliteBudgets
from local.sqlite.ledger import SqliteLedger
from tests.http_door import Door
from tests.parts import NOW, SUB, Parts, claims_of, grant, mint
from tests.running import Answer

HOUR, DAY = NOW, NOW - NOW % 86400


def ask(door: Door, token: str, **more: str) -> Answer:
    return door.ask("GET", "/usage", headers={"authorization": f"Bearer {token}"}, **more)  # type: ignore[arg-type]  # as ask


def refusal_at_the_edge(parts: Parts, token: str) -> tuple[int, str, str]:
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    return caught.value.status, caught.value.error, caught.value.description


def refused(answer: Answer) -> tuple[int, str, str]:
    return answer.status, answer.json["error"], answer.json.get("error_description", "")


def test_own_usage(parts: Parts, door: Door) -> None:
    """A caller sees its calls, refusals and tokens of this hour and day, and how each of its limits stands."""
    token = parts.token()
    parts.admit(token)
    parts.admit(token)
    parts.admit(token).give_back("not_sent")
    answer = ask(door, token)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    body = answer.json
    assert {name: body[name] for name in ("principal", "grant", "key", "at", "expires")} == {
        "principal": SUB,
        "grant": "app",
        "key": "openai",
        "at": NOW,
        "expires": claims_of(token)["exp"],
    }
    counts = {"calls": 2, "refused_calls": {"not_sent": 1}, "tokens": 1, "refused_tokens": {}}
    rest = {"models": [], "last_seen": NOW}
    assert body["usage"] == [
        {"window": "hour", "start": HOUR, "end": HOUR + 3600, **counts, **rest},
        {"window": "day", "start": DAY, "end": DAY + 86400, **counts, **rest},
    ]
    assert [(one["what"], one["window"], one["limit"], one["used"], one["left"]) for one in body["limits"]] == [
        ("calls", "minute", 100, 2, 98),
        ("calls", "day", 1000, 2, 998),
        ("tokens", "hour", 100, 1, 99),
    ]
    assert [one["resets"] for one in body["limits"]] == [NOW + 60, DAY + 86400, HOUR + 3600]


def test_own_budgets(parts: Parts, door: Door) -> None:
    """What models took of a budget is told with what calls under way have reserved; all callers' together is not."""
    parts.apply(
        grant(quota="{tokens: 100/hour, calls: 100/minute, usage: 1000 tokens/day}", total="{usage: 5000 tokens/day}")
    )
    budgets, token = SqliteBudgets(parts.state), parts.token()
    for name in ("one", "two"):
        reservation = Reservation(name, "app", SUB, NOW, {"usage": 300}, shared=True)
        assert budgets.reserve(reservation, (), NOW) is None
    budgets.settle(reservation, {"usage": 50})
    [found] = [one for one in ask(door, token).json["limits"] if one["what"] == "usage"]
    assert found == {
        "what": "usage",
        "window": "day",
        "limit": 1000,
        "used": 50,
        "reserved": 300,
        "left": 650,
        "resets": DAY + 86400,
    }


def test_nobody_else_s_numbers(parts: Parts, door: Door) -> None:
    """Another principal of the same grant, busy as it is, is in nobody else's answer."""
    mine, theirs = parts.token(), parts.token(repository_id="999")
    for _ in range(5):
        parts.admit(theirs)
    answer = ask(door, mine)
    assert [one["calls"] for one in answer.json["usage"]] == [0, 0]
    assert b"repository_id:999" not in answer.body
    assert [one["calls"] for one in ask(door, theirs).json["usage"]] == [5, 5]


@pytest.mark.parametrize("name", ["principal", "grant", "key", "window", "at", "access_token", "x"])
def test_a_query_is_not_taken(parts: Parts, door: Door, name: str) -> None:
    """No parameter chooses whose usage it is, and a token is not taken from the query."""
    token = parts.token()
    for headers in ({}, {"authorization": f"Bearer {token}"}):
        answer = door.ask("GET", "/usage", query={name: token}, headers=headers)
        assert refused(answer)[:2] == (400, "invalid_request")
        assert token not in answer.body.decode()


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic dTpw", "TOKEN", "x-api-key"])
def test_the_token_comes_as_a_bearer(parts: Parts, door: Door, header: str) -> None:
    """A token is taken from `Authorization: Bearer` alone."""
    token = parts.token()
    headers = {"x-api-key": token} if header == "x-api-key" else {"authorization": header.replace("TOKEN", token)}
    answer = door.ask("GET", "/usage", headers=headers)
    assert refused(answer)[:2] == (401, "invalid_token")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="keybroker", error="invalid_token"')


class _Unread:
    """State and counters that must not be read."""

    def find(self, query: StateQuery) -> NoReturn:
        raise AssertionError(query)

    def own(self, principal: str, grant: str, now: int) -> NoReturn:
        raise AssertionError(principal, grant, now)


def _without_reading(parts: Parts) -> Door:
    ports = parts.public_ports()
    broker = replace(ports.broker, ledger=_Unread())  # type: ignore[arg-type]  # nothing else is called
    return Door(app.public_app(lambda: replace(ports, broker=broker, usage=_Unread())))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _token: "a.b.c",
        lambda _token: "x" * 20_000,
        lambda _token: mint(),
        lambda token: token[:-8] + "AAAAAAAA",
        lambda token: f"{token}.x",
    ],
    ids=["garbage", "too large", "an identity token", "another signature", "four segments"],
)
def test_an_unverified_token_reads_nothing(parts: Parts, spoil: Callable[[str], str]) -> None:
    """A token that does not verify gets one bare answer, and costs no state."""
    answer = ask(_without_reading(parts), spoil(parts.token()))
    assert refused(answer) == (401, "invalid_token", "not a valid token for this")


@pytest.mark.parametrize(
    "change",
    [{"iss": "https://other.example"}, {"sub": 1}, {"ep": [0]}, {"iat": NOW + 999}],
    ids=str,
)
def test_claims_that_are_not_ours_read_nothing(parts: Parts, change: Mapping[str, object]) -> None:
    """A token of our key whose claims are not quite ours is refused as one that does not verify."""
    answer = ask(_without_reading(parts), parts.sign({**claims_of(parts.token()), **change}))
    assert refused(answer) == (401, "invalid_token", "not a valid token for this")


def test_an_expired_token_reads_nothing(parts: Parts) -> None:
    """A token that has expired says no more: a stolen one ends with its minutes."""
    claims = claims_of(parts.token())
    token = parts.sign({**claims, "iat": NOW - 900, "nbf": NOW - 900, "exp": NOW})
    assert refused(ask(_without_reading(parts), token)) == refusal_at_the_edge(parts, token)


STOPS: Mapping[str, Callable[[Parts, str], object]] = {
    "everything": lambda parts, _token: parts.revoke("everything", "*"),
    "issuer": lambda parts, _token: parts.revoke("issuer", "https://ci.example"),
    "key": lambda parts, _token: parts.revoke("key", "openai"),
    "grant": lambda parts, _token: parts.revoke("grant", "app"),
    "principal": lambda parts, _token: parts.revoke("principal", SUB),
    "token": lambda parts, token: parts.revoke("token", str(claims_of(token)["jti"])),
    "restored": lambda parts, _token: parts.restore(parts.revoke("principal", SUB)),
    "tainted": lambda parts, _token: parts.control.list_signing_keys(("another",)),
    "grant gone": lambda parts, _token: parts.apply(grant().replace("  app:", "  other:")),
    "grant for another key": lambda parts, _token: parts.apply(grant(key="anthropic", scope='["POST:/v1/messages"]')),
}


@pytest.mark.parametrize("stop", STOPS)
def test_what_the_edge_refuses_is_refused(parts: Parts, door: Door, stop: str) -> None:
    """A token that the edge refuses for every call is refused here in the same words, and no counter is read."""
    token = parts.token()
    assert ask(door, token).status == 200
    STOPS[stop](parts, token)
    ports = parts.public_ports()
    answer = ask(Door(app.public_app(lambda: replace(ports, usage=_Unread()))), token)
    assert refused(answer) == refusal_at_the_edge(parts, token)
    assert answer.status in (401, 403)


def test_looking_changes_nothing(parts: Parts, door: Door) -> None:
    """However often someone looks, nothing is counted, recorded or used up."""
    token = parts.token()
    before = parts.counted(), parts.counted("tokens"), parts.ledger.page(Query({})).events
    answers = [ask(door, token).body for _ in range(20)]
    assert len(set(answers)) == 1
    assert (parts.counted(), parts.counted("tokens"), parts.ledger.page(Query({})).events) == before


class _OutOfReach(SqliteLedger):
    def find(self, query: StateQuery) -> ExchangeState:  # noqa: ARG002  the port's
        raise StateUnavailable


class _UsageOutOfReach:
    def own(self, principal: str, grant: str, now: int) -> Mapping[str, Use]:  # noqa: ARG002  the port's
        raise StateUnavailable


@pytest.mark.parametrize("missing", ["state", "counters"])
def test_out_of_reach(parts: Parts, missing: str) -> None:
    """What cannot be read is a 503, never zeros, and never "not revoked"."""
    ports, token = parts.public_ports(), parts.token()
    if missing == "state":
        ports = replace(ports, broker=parts.broker(_OutOfReach(parts.state)))
    else:
        ports = replace(ports, usage=_UsageOutOfReach())
    answer = ask(Door(app.public_app(lambda: ports)), token)
    assert (answer.status, answer.json["error"], "retry-after" in answer.headers) == (
        503,
        "temporarily_unavailable",
        True,
    )


def test_no_token_in_the_log(parts: Parts, door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal's log line names who was refused once that is verified, and holds nothing of the token."""
    caplog.set_level("DEBUG")
    token = parts.token()
    parts.revoke("principal", SUB)
    assert ask(door, token).status == 403
    (line,) = [json.loads(one.getMessage()) for one in caplog.records if one.name == "keybroker"]
    assert (line["reason"], line["principal"], line["grant"]) == ("revoked_principal", SUB, "app")
    assert token.rpartition(".")[2] not in caplog.text
