"""A call's budget: reserved with its admission, given back with it, and refused in words."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from chalicelib.edge import admission, billing
from chalicelib.edge.billing import Kept
from chalicelib.edge.call import Admitted, Call
from chalicelib.errors import StateUncertain
from chalicelib.models.body import CallBody
from chalicelib.models.charge import Ending, Seen
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.providers.prices import Tokens
from chalicelib.quota import EVERYBODY
from chalicelib.usage import UsageQuery, window_start
from local.sqlite.usage import SqliteUsage
from tests.parts import NOW, PRICES, SUB, Parts, grant, parts_in
from tests.refused import refused

QUOTA = "{tokens: 100/hour, calls: 100/minute, usage: [3000 tokens/day]}"
keeps_budgets = pytest.mark.inside
"""Of an edge that sees answers, which the zip's function is not: it admits nobody."""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(quota=QUOTA))
        yield made


def admit(
    parts: Parts,
    token: str,
    number: int = 1,
    most: int = 500,
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    more: Mapping[str, object] = MappingProxyType({}),
) -> Admitted:
    content = json.dumps({"model": "gpt-5", "max_tokens": most, **more}).encode() if method == "POST" else b""
    body = CallBody(base64.b64encode(content).decode(), truncated=False, content_types=("application/json",))
    call = Call(token, "openai", method, path, body=body, id=f"request-{number}")
    return admission.admit(call, parts.edge_parts(), NOW)


def used(parts: Parts, what: str = "usage") -> tuple[int, int]:
    query = UsageQuery("day", window_start("day", NOW), now=NOW)
    (use,) = SqliteUsage(parts.state).uses(query).uses
    found = use.budgets.get(what)
    return (found.used, found.reserved) if found else (0, 0)


@keeps_budgets
def test_a_call_reserves_and_is_settled(parts: Parts) -> None:
    """An admitted call has reserved its worst case, and once it is settled it counts as what it took."""
    admitted = admit(parts, parts.token())
    assert admitted.bill is not None
    worst = admitted.bill.worst
    assert used(parts) == (0, worst.input + worst.output)
    assert admitted.bill.settle(Ending.WHOLE, Seen(TokenUse("gpt-5", 12, 30, 0)))
    assert used(parts) == (42, 0)


@keeps_budgets
def test_no_more_is_reserved_than_there_is(parts: Parts) -> None:
    """A call for which there is no room is a 429 that says why, what is left and when, and takes nothing, no number either."""
    token = parts.token()
    admit(parts, token)
    refusal = refused(lambda: admit(parts, token, 2, 1_000))
    assert (refusal.reason, refusal.error, refusal.status) == ("quota_usage", "quota_exceeded", 429)
    assert "of the quota of 3000 tokens/day of yours" in refusal.description
    assert refusal.retry_after == 5
    assert '"usage-day";q=3000;w=86400' in refusal.headers["ratelimit-policy"]
    assert parts.counted()["day"] == (1, 1)
    assert used(parts)[1] < 1_600


@keeps_budgets
def test_what_is_used_up_comes_back_with_the_window(parts: Parts) -> None:
    """Where nothing is merely reserved, a refusal waits for the window's end, which SDKs do not wait for."""
    token = parts.token()
    bill = admit(parts, token).bill
    assert bill is not None
    bill.settle(Ending.WHOLE, Seen(TokenUse("gpt-5", 2_900, 0, 0)))
    assert refused(lambda: admit(parts, token, 2)).retry_after == 86_400 - NOW % 86_400


@keeps_budgets
def test_a_call_beyond_the_whole_quota_is_told_so(parts: Parts) -> None:
    """A call that could never be admitted is a 400 that says what to lower."""
    refusal = refused(lambda: admit(parts, parts.token(), most=128_000))
    assert (refusal.reason, refusal.status, refusal.retry_after) == ("usage_beyond_quota", 400, None)
    assert "max_tokens" in refusal.description
    assert parts.counted()["day"] == (0, 1)


@keeps_budgets
def test_what_is_not_sent_is_given_back(parts: Parts) -> None:
    """A call of which nothing was sent takes neither a number nor a token of a model."""
    admit(parts, parts.token()).give_back("not_sent")
    assert (used(parts), parts.counted()["day"]) == ((0, 0), (0, 1))


@keeps_budgets
def test_a_list_of_models_reserves_nothing(parts: Parts) -> None:
    """What runs no model is admitted without a bill, however little is left."""
    token = parts.token()
    admit(parts, token, most=1_900)
    assert admit(parts, token, 2, path="/v1/models", method="GET").bill is None


@keeps_budgets
def test_all_callers_share_a_total(parts: Parts) -> None:
    """A limit of all callers counts everybody, and is said to be one."""
    parts.apply(grant(quota=QUOTA, total="{usage: 3200 tokens/day}"))
    other = parts.token(repository_id="5678")
    admit(parts, other)
    refusal = refused(lambda: admit(parts, parts.token(), 2, 1_000))
    assert "of all callers together" in refusal.description
    assert '"total-usage-day";q=3200' in refusal.headers["ratelimit-policy"]
    with parts.state.reading() as connection:
        row = connection.execute(
            "SELECT taken FROM counters WHERE principal = ? AND what = 'usage' AND window = 'day'", (EVERYBODY,)
        ).fetchone()
    query = UsageQuery("day", window_start("day", NOW), principal=SUB.replace("1234", "5678"), now=NOW)
    (use,) = SqliteUsage(parts.state).uses(query).uses
    assert row == (use.budgets["usage"].reserved,)


def test_no_budgets_no_calls(parts: Parts) -> None:
    """An edge that sees no answers admits nobody under a limit of what models take, and says that an operator has to act."""
    edge = replace(parts.edge_parts(), budgets=None)
    call = Call(parts.token(), "openai", "GET", "/v1/models", id="request-1")
    refusal = refused(lambda: admission.admit(call, edge, NOW))
    assert (refusal.reason, refusal.status, refusal.retryable) == ("budgets_not_kept", 503, False)
    assert parts.counted()["day"] == (0, 1)


def test_a_call_without_an_id_is_not_admitted(parts: Parts) -> None:
    """Two calls never share a reservation."""
    refusal = refused(lambda: parts.admit(parts.token()))
    assert refusal.reason == "budgets_not_kept"


@keeps_budgets
def test_a_lost_answer_leaves_no_reservation(parts: Parts) -> None:
    """Where it is not known whether a call has reserved, it is refused, and what it may have reserved is given back."""
    edge = parts.edge_parts()
    assert edge.budgets is not None
    real = edge.budgets.budgets

    class Lossy:
        """Reserves, and loses the answer."""

        def settle(self, *asked: object) -> bool:
            """See `Budgets.settle`."""
            return real.settle(*asked)  # type: ignore[arg-type]  # passed on as they are

        def reserve(self, *asked: object) -> None:
            """See `Budgets.reserve`."""
            real.reserve(*asked)  # type: ignore[arg-type]  # passed on as they are
            raise StateUncertain

    content = base64.b64encode(b'{"model": "gpt-5", "max_tokens": 5}').decode()
    body = CallBody(content, truncated=False, content_types=("application/json",))
    call = Call(parts.token(), "openai", "POST", "/v1/chat/completions", body=body, id="request-1")
    refusal = refused(lambda: admission.admit(call, replace(edge, budgets=Kept(Lossy(), PRICES)), NOW))
    assert refusal.reason == "state_uncertain"
    assert (used(parts), parts.counted()["day"]) == ((0, 0), (0, 1))


SPENDING = "{tokens: 100/hour, calls: 100/minute, spend: [0.01 usd/day]}"


@keeps_budgets
def test_money_is_reserved_and_settled(parts: Parts) -> None:
    """A call under a limit of money has reserved what its worst case costs, and once it is settled what it did cost, rounded up."""
    parts.apply(grant(quota=SPENDING))
    bill = admit(parts, parts.token()).bill
    assert bill is not None
    assert used(parts, "spend") == (0, bill.worst.input + 8 * 500)
    assert bill.settle(Ending.WHOLE, Seen(TokenUse("gpt-5", 1_005, 30, 1_000)))
    assert (used(parts, "spend"), used(parts)) == ((5 + 100 + 240, 0), (1_035, 0))


@keeps_budgets
def test_no_more_money_is_reserved_than_there_is(parts: Parts) -> None:
    """A call for which no money is left is a 429 in dollars, and one that costs more than the whole limit a 400."""
    parts.apply(grant(quota=SPENDING))
    token = parts.token()
    admit(parts, token)
    refusal = refused(lambda: admit(parts, token, 2, 1_000))
    assert (refusal.reason, refusal.status) == ("quota_spend", 429)
    assert "of the quota of 0.01 usd/day of yours" in refusal.description
    assert '"spend-day";q=10000;w=86400' in refusal.headers["ratelimit-policy"]
    assert refused(lambda: admit(parts, token, 3, 2_000)).reason == "spend_beyond_quota"


@keeps_budgets
@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"model": "gpt-6"}, "no price of 'gpt-6' in those of 2026-11-28"),
        ({"service_tier": "priority"}, "'service_tier'"),
        ({"modalities": ["text", "audio"]}, "'modalities'"),
    ],
    ids=["model", "tier", "output"],
)
def test_what_has_no_price_is_refused(parts: Parts, more: dict[str, object], why: str) -> None:
    """Where money is limited, what a call costs has to be known; where only tokens are, it does not matter."""
    parts.apply(grant(quota=SPENDING))
    token = parts.token()
    refusal = refused(lambda: admit(parts, token, more=more))
    assert (refusal.reason, refusal.status) == ("spend_unknown", 403)
    assert why in refusal.description
    parts.apply(grant(quota=QUOTA))
    assert admit(parts, token, 2, more=more).bill is not None


@keeps_budgets
def test_a_dated_name_has_the_model_s_price(parts: Parts) -> None:
    """A model is known by its name with a date as well; what it usually costs is asked for by every usual value."""
    parts.apply(grant(quota=SPENDING))
    more = {"model": "gpt-5-2025-08-07", "service_tier": "default", "modalities": ["text"]}
    assert admit(parts, parts.token(), more=more).bill is not None


@keeps_budgets
@pytest.mark.parametrize("tokens", [Tokens(-1, 5), Tokens(5, -1)])
def test_nothing_is_paid_out(tokens: Tokens) -> None:
    """A count below nothing is a fault, and credits nobody."""
    with pytest.raises(ValueError, match="less than nothing"):
        billing._amounts(tokens, 0, None)
