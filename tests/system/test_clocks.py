"""Clocks that differ: what an issuer, a broker and an edge a minute apart accept and refuse, whatever state is kept in.

Each decides by its own clock, and accepts an `iat` by another clock that is up to LEEWAY ahead. Nothing else depends on their
agreeing: windows are the edge's own, revocations hold by epochs, locks outlive the tokens that they are for.
"""

from __future__ import annotations

import calendar
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from chalicelib.audit import Query
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Call
from chalicelib.errors import Refusal
from chalicelib.exchange import exchange
from chalicelib.exchange.exchange import Broker, TokenRequest
from chalicelib.exchange.ledger import REPLAY_MARGIN, Issuance, Ledger, Lock
from chalicelib.issuers.presets import GENERIC
from chalicelib.providers.keys import ProviderKey
from chalicelib.quota import WINDOWS, Limit
from chalicelib.tokens.verify import LEEWAY
from tests.contracts import dynamodb_adapters, samples, sqlite_adapters
from tests.contracts.adapters import Adapters, Make
from tests.contracts.samples import ISSUER, NOW, grant, new_id
from tests.contracts.verbs import BROKER, Keys, claims_of

_SETS: dict[str, Make] = {"dynamodb": dynamodb_adapters.made, "sqlite": sqlite_adapters.made}
NOON = NOW + 43200
"""When the issuer's clock says that it is noon, and everybody else's something else."""
OFF = (-60, -31, -30, 0, 30, 60)
"""Seconds by which a clock is ahead of the one that it is compared with."""


class _ProviderKeys:
    def get(self, name: str, version: str) -> ProviderKey:  # noqa: ARG002  the port's
        return ProviderKey(version, "https://api.example.com", "authorization", "Bearer ", "made-up")


class Parts:
    """A broker and an edge that are told what their clocks say."""

    def __init__(self, adapters: Adapters, keys: Keys) -> None:
        self.adapters, self._keys, self._subject = adapters, keys, f"build:{new_id()}"
        self.broker = Broker(
            ledger=adapters.ledger,
            keys=keys,
            signer=keys.broker,
            signing_keys=keys.broker,
            url=BROKER,
            edge_url="https://edge.example.com",
            identities=frozenset({GENERIC.identity}),
        )
        self.edge = Edge(adapters.edge_state, keys.broker, _ProviderKeys(), BROKER)

    def apply(self, *calls: Limit) -> None:
        """Put a policy in force with these limits of calls."""
        made = grant(calls=calls)._replace(claims=((("sub",), ("build:*",)),))
        samples.put_in_force(self.adapters.control, made, issuers=(samples.issuer(single_use=True),), at=NOON)

    def subject_token(self, now: int = NOON) -> str:
        """Return an identity token, good for 5 minutes by its issuer's clock."""
        claims = {
            "iss": ISSUER,
            "aud": "keybroker",
            "sub": self._subject,
            "iat": now,
            "exp": now + 300,
            "jti": new_id(),
        }
        return self._keys.issuer.begin({"typ": "JWT", "kid": self._keys.issuer.kid()}, claims).result()

    def exchange(self, now: int, subject_token: str | None = None, key: str | None = None) -> str:
        """Return a token of ours, good for 15 minutes from `now`, the broker's; raises Refusal."""
        request = TokenRequest(subject_token or self.subject_token(now), "openai", new_id(), "ci", None, key)
        return exchange.exchange(request, self.broker, now, new_id).access_token

    def admit(self, token: str, now: int) -> str:
        """Make a call when the edge's clock says `now`; return why not, "" if it is admitted."""
        try:
            admission.admit(Call(token, "openai", "POST", "/v1/chat/completions"), self.edge, now)
        except Refusal as refusal:
            return refusal.reason
        return ""

    def answer(self, now: int, subject_token: str) -> str:
        """Exchange; return why not, "" if there is a token."""
        try:
            self.exchange(now, subject_token)
        except Refusal as refusal:
            return refusal.reason
        return ""

    def revoke(self, at: int, until: int | None = None) -> str:
        """Revoke the principal when an administrator's clock says `at`; return the revocation's id."""
        made = samples.revocation("principal", f"{ISSUER}|sub:{self._subject}", at=at, until=until)
        return self.adapters.control.revoke(made, samples.event("revocation.made", at=at)).id


@pytest.fixture(scope="module", params=sorted(_SETS))
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Adapters, Keys]]:
    """A store with a policy, for all."""
    with _SETS[request.param]() as adapters:
        keys = Keys(tmp_path_factory.mktemp("keys"))
        adapters.control.list_signing_keys((keys.broker.kid(),))
        Parts(adapters, keys).apply()
        yield adapters, keys


@pytest.fixture
def parts(shared: tuple[Adapters, Keys]) -> Parts:
    """A broker and an edge, with a caller of the test's own."""
    return Parts(*shared)


class TestIssuerAndBroker:
    """The broker's clock is off from the issuer's."""

    def test_fresh_identity_token_and_a_broker_behind(self, parts: Parts) -> None:
        """Only a broker whose clock is behind by more than the leeway refuses a fresh identity token."""
        for off in OFF:
            assert parts.answer(NOON + off, parts.subject_token()) == ("iat_future" if off < -LEEWAY else ""), off

    def test_broker_behind_accepts_within_the_leeway(self, parts: Parts) -> None:
        """A broker that is behind accepts the identity token once its own clock is within the leeway."""
        subject_token = parts.subject_token()
        assert parts.answer(NOON - LEEWAY - 1, subject_token) == "iat_future"
        assert parts.answer(NOON - LEEWAY, subject_token) == ""

    def test_identity_token_expires_after_the_leeway(self, parts: Parts) -> None:
        """By the broker's clock, an identity token is accepted until it has been expired for the leeway."""
        assert parts.answer(NOON + 299 + LEEWAY, parts.subject_token()) == ""
        assert parts.answer(NOON + 300 + LEEWAY, parts.subject_token()) == "exp_past"


class TestBrokerAndEdge:
    """The edge's clock is off from the broker's."""

    def test_a_fresh_token_is_refused_only_by_an_edge_more_than_the_leeway_behind(self, parts: Parts) -> None:
        for off in OFF:
            assert parts.admit(parts.exchange(NOON), NOON + off) == ("iat_future" if off < -LEEWAY else ""), off

    def test_edge_behind_accepts_within_the_leeway(self, parts: Parts) -> None:
        """An edge that is a minute behind accepts a token half a minute after it was issued."""
        token, behind = parts.exchange(NOON), -60
        assert [parts.admit(token, NOON + after + behind) for after in (0, 29, 30)] == ["iat_future", "iat_future", ""]

    def test_a_token_ends_by_the_edge_s_own_clock_without_any_leeway(self, parts: Parts) -> None:
        """By the broker's clock it lives as much shorter at an edge that is ahead, and longer at one behind."""
        token = parts.exchange(NOON)
        assert [parts.admit(token, now) for now in (NOON + 899, NOON + 900)] == ["", "exp_past"]


class TestWindows:
    """Calls are counted in the edge's own minutes, hours and days."""

    @pytest.mark.parametrize("window", WINDOWS)
    def test_edges_minutes_apart_keep_the_limit(self, parts: Parts, window: str) -> None:
        """Edges minutes apart admit no more than the limit in any window, by any of their clocks."""
        parts.apply(Limit(2, window))
        midnight = NOON + 43200
        token = parts.exchange(midnight - 200)
        admitted: Counter[int] = Counter()
        for second in range(0, 200, 20):
            for off in (-60, 0, 60):
                now = midnight - 100 + second + off
                if not parts.admit(token, now):
                    admitted[now - now % WINDOWS[window]] += 1
        parts.apply()
        assert set(admitted.values()) == {2}
        assert len(admitted) == (6 if window == "minute" else 2)


class TestRevocation:
    """A token from before a revocation is dead, whatever any clock says."""

    def test_it_holds_from_the_next_call_on_and_for_good_whatever_the_clocks_say(self, parts: Parts) -> None:
        for administrator, edge in itertools.product((-60, 60), (-30, 60)):
            self._holds(parts, administrator, NOON + edge)

    def _holds(self, parts: Parts, administrator: int, now: int) -> None:
        token = parts.exchange(NOON)
        assert parts.admit(token, now) == ""
        made = parts.revoke(NOON + administrator)
        assert parts.admit(token, now) == "revoked_principal"
        lifted = samples.event("revocation.lifted", at=NOON + administrator)
        assert parts.adapters.control.restore(made, "tester", lifted)
        assert parts.admit(token, now) == "stale_principal"
        assert parts.admit(parts.exchange(NOON), now) == ""

    def test_timed_block_ends_by_the_local_clock(self, parts: Parts) -> None:
        """A block with an end ends by the clock of the broker or the edge that checks it."""
        until, token = NOON + 300, parts.exchange(NOON)
        parts.revoke(NOON, until)
        assert [parts.admit(token, now) for now in (until - 1, until)] == ["revoked_principal", "stale_principal"]
        answers = [parts.answer(now, parts.subject_token(now)) for now in (until - 1, until)]
        assert answers == ["revoked_principal", ""]

    def test_a_block_whose_end_has_passed_already_still_ends_the_tokens_from_before(self, parts: Parts) -> None:
        token = parts.exchange(NOON)
        parts.revoke(NOON, NOON - 60)
        assert parts.admit(token, NOON) == "stale_principal"
        assert parts.admit(parts.exchange(NOON), NOON) == ""


class _Noting:
    """A broker's ledger that notes which locks are taken."""

    def __init__(self, real: Ledger) -> None:
        self.locks: list[Lock] = []
        self.find, self.record, self.page, self._issue = real.find, real.record, real.page, real.issue
        self.count_issued = real.count_issued

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        """See `Ledger.issue`."""
        assert issuance.lock is not None
        self.locks.append(issuance.lock)
        return self._issue(issuance, now)


class TestReplay:
    """An identity token is used once, though brokers' clocks differ."""

    def test_no_broker_takes_it_again_at_any_time_at_which_it_would_take_it_at_all(self, parts: Parts) -> None:
        ends = NOON + 300 + LEEWAY
        for first in (NOON - LEEWAY, NOON, NOON + 60, ends - 1):
            subject_token = parts.subject_token()
            assert parts.answer(first, subject_token) == ""
            again = [parts.answer(now, subject_token) for now in (NOON - LEEWAY, NOON, NOON + 60, ends - 60, ends - 1)]
            assert set(again) == {"replayed"}
            assert parts.answer(ends, subject_token) == "exp_past"

    def test_replay_lock_outlives_the_identity_token(self, parts: Parts) -> None:
        """The replay lock outlives the identity token by the leeway and the replay margin, by any broker's clock."""
        noting = _Noting(parts.adapters.ledger)
        parts.broker = replace(parts.broker, ledger=noting)
        for off in (-LEEWAY, 0, 60):
            parts.exchange(NOON + off, parts.subject_token())
        assert {one.expires for one in noting.locks} == {NOON + 300 + LEEWAY + REPLAY_MARGIN}
        assert REPLAY_MARGIN == LEEWAY == 30
        lock = noting.locks[-1]
        again = samples.issuance(lock=replace(lock, expires=lock.expires + 900))
        with pytest.raises(Refusal, match="replayed"):
            noting.issue(again, lock.expires)
        assert noting.issue(again, lock.expires + 1) is None

    def test_a_retry_at_a_broker_with_another_clock_gets_the_token_of_the_first(self, parts: Parts) -> None:
        subject_token, key = parts.subject_token(), "k" * 22
        first, *others = (parts.exchange(NOON + off, subject_token, key) for off in (0, -LEEWAY, 60))
        assert [claims_of(one) for one in others] == [claims_of(first)] * 2


class TestAudit:
    """Events have the time of the process that wrote them."""

    def test_page_shows_events_from_a_clock_ahead(self, parts: Parts) -> None:
        """A page shows events written by a clock that is ahead, even if it is already next month there."""
        last = calendar.timegm((2027, 2, 1, 0, 0, 0)) - 1
        events = tuple(samples.event("key.set", at=last + ahead) for ahead in (0, 1, 60, 3600))
        for event in events:
            parts.adapters.ledger.record(event)
        found = _read_at(parts.adapters.ledger, last).page(Query({"kind": "key.set"}, since=NOON))
        assert (found.events, found.next) == (events[::-1], "")


def _read_at(ledger: Ledger, now: int) -> Ledger:
    """Return the ledger as a process sees it whose clock says `now`; SQLite's asks no clock."""
    return DynamoLedger(ledger._tables, lambda: now) if isinstance(ledger, DynamoLedger) else ledger
