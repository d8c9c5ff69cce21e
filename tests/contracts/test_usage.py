"""The rules of `chalicelib.usage.Usage`, whatever it is kept in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib import quota
from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import refused_counters
from chalicelib.quota import EVERYBODY, WINDOWS, Limit
from chalicelib.usage import UsageQuery, Use, window_start
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER, NOW, SIX, SUB, calls, issuance
from tests.contracts.verbs import Keys, Verbs

DAY = WINDOWS["day"]


def _issue(adapters: Adapters, sub: str = SUB, grant: str = "ci", now: int = NOW, key: str = "openai") -> None:
    event = samples.event(at=now, principal=sub, principal_name=f"name of {sub}", grant=grant, key=key)
    limits = (Limit(1000, "day"),)
    counted = tuple((counter, limits) for counter in quota.counters("tokens", grant, sub, now))
    adapters.ledger.issue(replace(issuance(), event=event, counters=counted), now)


def _call(adapters: Adapters, sub: str = SUB, grant: str = "ci", now: int = NOW, refused: str = "") -> None:
    counters = quota.counters("calls", grant, sub, now)
    adapters.edge_state.read_and_count(SIX, counters)
    if refused:
        adapters.edge_state.give_back(counters, refused)


def _refuse(adapters: Adapters, reason: str, grant: str = "ci", now: int = NOW) -> None:
    event = samples.event("token.refused", at=now, principal=SUB, grant=grant, key="openai", reason=reason)
    adapters.ledger.record(event)


def _uses(adapters: Adapters, window: str = "day", at: int = NOW, **more: str) -> tuple[Use, ...]:
    query = replace(UsageQuery(window, window_start(window, at)), **more)  # type: ignore[arg-type]  # members by name
    return adapters.usage.uses(query).uses


def _every(adapters: Adapters, limit: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    query = UsageQuery("day", NOW, limit=limit)
    while True:
        page = adapters.usage.uses(query)
        assert len(page.uses) <= limit
        found += [(one.principal, one.grant) for one in page.uses]
        if not page.next:
            return found
        query = replace(query, after=page.next)


class TestUses:
    """Who did anything in a window."""

    def test_nobody_did_anything_in_an_empty_store(self, adapters: Adapters) -> None:
        assert _uses(adapters) == ()

    @pytest.mark.parametrize("window", WINDOWS)
    def test_usage_of_each_window(self, adapters: Adapters, window: str) -> None:
        """Tokens, calls and refusals by reason are returned for each window."""
        _issue(adapters)
        _issue(adapters)
        for _ in range(3):
            _call(adapters)
        for reason in ("quota_calls", "revoked_principal", "quota_calls"):
            _call(adapters, refused=reason)
        _refuse(adapters, "quota_tokens")
        _refuse(adapters, "replayed")
        assert _uses(adapters, window) == (
            Use(
                principal=SUB,
                grant="ci",
                key="openai",
                name="",  # the last event, a refusal of these tests, has none
                tokens=2,
                calls=3,
                refused_tokens={"quota_tokens": 1, "replayed": 1},
                refused_calls={"quota_calls": 2, "revoked_principal": 1},
                last_seen=NOW,
            ),
        )

    def test_a_call_beyond_its_token_s_scope_is_told(self, adapters: Adapters, tmp_path: Path) -> None:
        """What the edge refuses before it reads anything counts as refused for the token's principal, and as nothing else."""
        samples.put_in_force(adapters.control, samples.grant())
        verbs = Verbs(adapters, Keys(tmp_path))
        verbs.list_signing_keys()
        token = verbs.exchange(verbs.subject_token("build-1", NOW), "ci", NOW)
        assert isinstance(token, str)
        reasons = [one and one.reason for one in (verbs.call(token, NOW, "/v1/files") for _ in range(3))]
        assert reasons == ["out_of_scope"] * 3
        assert verbs.call(token, NOW) is None
        for window in WINDOWS:
            [use] = _uses(adapters, window)
            assert (use.principal, use.calls, use.refused_calls) == (SUB, 1, {"out_of_scope": 3})

    def test_a_use_says_which_key_and_what_its_principal_is_called(self, adapters: Adapters) -> None:
        _issue(adapters, key="anthropic")
        [use] = _uses(adapters)
        assert (use.key, use.name) == ("anthropic", f"name of {SUB}")

    def test_what_was_done_in_another_window_is_not_told(self, adapters: Adapters) -> None:
        _issue(adapters, now=NOW + 59)
        _call(adapters, now=NOW + 60)
        assert [(one.tokens, one.calls) for one in _uses(adapters, "minute", NOW)] == [(1, 0)]
        assert [(one.tokens, one.calls) for one in _uses(adapters, "minute", NOW + 60)] == [(0, 1)]
        assert [(one.tokens, one.calls) for one in _uses(adapters, "hour", NOW)] == [(1, 1)]
        assert _uses(adapters, "hour", NOW + 3600) == ()

    def test_a_token_from_before_midnight_is_found(self, adapters: Adapters) -> None:
        """A principal whose token is from before midnight, and who calls after it, is listed."""
        _issue(adapters, now=NOW + DAY - 60)
        _call(adapters, now=NOW + DAY + 60)
        [use] = _uses(adapters, "day", NOW + DAY)
        assert (use.principal, use.tokens, use.calls, use.key) == (SUB, 0, 1, "openai")
        [use] = _uses(adapters, "minute", NOW + DAY + 60)
        assert (use.calls, use.key, use.last_seen) == (1, "openai", NOW + DAY + 60)

    def test_principal_refused_every_token_is_listed(self, adapters: Adapters) -> None:
        """The usage report lists a principal that was refused every token."""
        _refuse(adapters, "no_grant", grant="")
        [use] = _uses(adapters)
        assert (use.principal, use.grant, use.tokens, use.refused_tokens) == (SUB, "", 0, {"no_grant": 1})

    def test_the_calls_of_all_callers_together_are_nobodys(self, adapters: Adapters) -> None:
        _issue(adapters)
        adapters.edge_state.read_and_count(SIX, calls(), quota.counters("calls", "ci", EVERYBODY, NOW))
        assert [(one.principal, one.calls) for one in _uses(adapters)] == [(SUB, 1)]

    def test_last_seen_is_the_minute_of_the_last_token_or_call(self, adapters: Adapters) -> None:
        _issue(adapters, now=NOW + 30)
        _call(adapters, now=NOW + 605)
        assert [one.last_seen for one in _uses(adapters)] == [NOW + 600]

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
    def test_pages_follow_one_another_without_gap_or_repetition(self, adapters: Adapters, limit: int) -> None:
        pairs = [(f"{ISSUER}|sub:{name}", grant) for name in ("a", "b#c", "ü") for grant in ("ci", "docs")]
        for sub, grant in pairs:
            _issue(adapters, sub, grant)
        assert sorted(_every(adapters, limit)) == sorted(pairs)

    @pytest.mark.parametrize(
        ("named", "found"),
        [
            ({"principal": "ada"}, [("ada", "ci"), ("ada", "docs")]),
            ({"grant": "ci"}, [("ada", "ci"), ("bob", "ci")]),
            ({"key": "k-docs"}, [("ada", "docs")]),
            ({"principal": "bob", "grant": "ci", "key": "k-ci"}, [("bob", "ci")]),
            ({"principal": "ad"}, []),
            ({"principal": "bob", "grant": "docs"}, []),
            ({"key": "K-DOCS"}, []),
        ],
    )
    def test_filters_take_exact_values_and_are_joined(
        self, adapters: Adapters, named: dict[str, str], found: list[tuple[str, str]]
    ) -> None:
        for sub, grant in (("ada", "ci"), ("ada", "docs"), ("bob", "ci")):
            _issue(adapters, sub, grant, key=f"k-{grant}")
        assert [(one.principal, one.grant) for one in _uses(adapters, "day", NOW, **named)] == found

    def test_a_malformed_cursor_is_a_value_error(self, adapters: Adapters) -> None:
        for cursor in ("x", "x" * 2000 + "#y"):
            with pytest.raises(ValueError, match="cursor"):
                _uses(adapters, after=cursor)


class TestRecentCalls:
    """How many calls in this minute and the 59 before."""

    def test_the_calls_of_sixty_minutes_are_told_and_no_others(self, adapters: Adapters) -> None:
        for ago in (0, 1, 59, 60, 3599, 3600, 3659, 3660):
            _call(adapters, now=NOW + 7200 - ago)
        # This minute, just begun, has the call of now; the 59 before it have those of 1 to 3540 s ago.
        assert adapters.usage.recent_calls([(SUB, "ci")], NOW + 7200) == {(SUB, "ci"): 4}

    def test_across_an_hour_every_minute_counts_once(self, adapters: Adapters) -> None:
        for minute in range(0, 120, 10):
            _call(adapters, now=NOW + minute * 60)
        assert adapters.usage.recent_calls([(SUB, "ci")], NOW + 110 * 60 + 59) == {(SUB, "ci"): 6}

    def test_refused_calls_are_not_recent(self, adapters: Adapters) -> None:
        """Refused calls do not count, and a principal that never called has none."""
        _call(adapters)
        _call(adapters, refused="quota_calls")
        pairs = [(SUB, "ci"), (SUB, "docs"), ("nobody", "ci")]
        assert adapters.usage.recent_calls(pairs, NOW) == dict(zip(pairs, (1, 0, 0), strict=True))

    def test_for_nobody_there_is_nothing_to_tell(self, adapters: Adapters) -> None:
        assert adapters.usage.recent_calls([], NOW) == {}


class TestRefusedTokens:
    """A refused token is counted with its record."""

    def test_a_refused_token_is_counted_as_refused(self, adapters: Adapters) -> None:
        """A refused token is counted as refused in every window, and takes nothing."""
        _issue(adapters)
        for _ in range(3):
            _refuse(adapters, "quota_tokens")
        assert [adapters.counted(one) for one in quota.counters("tokens", "ci", SUB, NOW)] == [(1, 3)] * 3

    def test_an_event_that_is_no_refused_token_is_counted_nowhere(self, adapters: Adapters) -> None:
        event = samples.event("key.set", principal=SUB, grant="ci")
        adapters.ledger.record(event)
        assert refused_counters(event) == ()
        assert _uses(adapters) == ()

    def test_refusals_do_not_use_up_a_quota(self, adapters: Adapters) -> None:
        for _ in range(5):
            _refuse(adapters, "no_grant")
        assert adapters.ledger.issue(issuance(Limit(1, "day")), NOW) is None
        with pytest.raises(Refusal, match="quota_tokens"):
            adapters.ledger.issue(issuance(Limit(1, "day")), NOW)
