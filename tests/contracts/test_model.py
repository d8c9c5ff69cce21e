"""SQLite, DynamoDB and a model of dicts side by side: after any operations and cuts, they admit and refuse the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chalicelib.audit import Query
from chalicelib.aws import target_items
from chalicelib.errors import Refusal, Unavailable
from chalicelib.policy.compile import Policy
from chalicelib.policy.plan import StoredPolicy
from chalicelib.quota import WINDOWS, Limit
from chalicelib.revocation import EPOCHS, Revocation
from tests.contracts import dynamodb_adapters, samples, sqlite_adapters
from tests.contracts.adapters import Make
from tests.contracts.samples import ISSUER, NOW, grant, issuer, jti_of, policy
from tests.contracts.verbs import Keys, Verbs, claims_of
from tests.every_event import every_event

_SUBJECTS, _GRANTS = ("build-1", "build-2"), ("a", "b")
_WHO = st.sampled_from(_SUBJECTS)
_NAME = st.sampled_from(_GRANTS)
_LIMIT = st.builds(Limit, st.integers(1, 4), st.sampled_from(("day", "hour", "minute")))
_POLICY = st.dictionaries(_NAME, st.tuples(_LIMIT, _LIMIT))
_UNTIL = st.sampled_from((None, 1, 30, 60))
_WHOLE = 10**9
_CUT = st.sampled_from((_WHOLE, _WHOLE, 1, 2, 3, 5))
"""After how many steps of its store something is cut off; mostly never."""
_SCOPE = st.sampled_from((*EPOCHS, "grant", "principal", "principal"))


@dataclass
class Token:
    """What the model knows of an issued token. texts: as each store issued it. targets: ids by scope."""

    texts: list[str]
    targets: dict[str, str]
    epochs: list[int]
    expires: int


@dataclass
class Model:
    """What should be so. blocks: revocation -> what it blocks, until when. grants: name -> limits of tokens, of calls."""

    grants: dict[str, tuple[Limit, Limit]] = field(default_factory=dict)
    version: int = 0
    known: set[str] = field(default_factory=set)
    epochs: Counter[tuple[str, str]] = field(default_factory=Counter)
    blocks: dict[str, tuple[tuple[str, str], int | None]] = field(default_factory=dict)
    counted: Counter[tuple[object, ...]] = field(default_factory=Counter)

    def blocked(self, targets: dict[str, str], now: int) -> bool:
        """Whether anything blocks one of these targets."""
        blocked = {target for target, until in self.blocks.values() if until is None or now < until}
        return bool(blocked & set(targets.items()))

    def count(self, what: str, targets: dict[str, str], now: int) -> bool:
        """Count one more and say so, unless that is beyond the limit."""
        limit = self.grants[targets["grant"]][what == "calls"]
        of = (what, targets["grant"], targets["principal"])
        if self.counted[*of, limit.window, now // WINDOWS[limit.window]] >= limit.count:
            return False
        for window, seconds in WINDOWS.items():
            self.counted[*of, window, now // seconds] += 1
        return True


def _targets(subject: str, name: str) -> dict[str, str]:
    sub = f"{ISSUER}|sub:{subject}"
    return {"everything": "*", "issuer": ISSUER, "key": "openai", "grant": name, "principal": sub}


class _Store:
    """One set of adapters with the verbs over it."""

    def __init__(self, make: Make, keys: Keys) -> None:
        self._context, self._keys = make(), keys
        self.adapters = self._context.__enter__()
        self.verbs = Verbs(self.adapters, keys)
        self.verbs.list_signing_keys()

    def restart(self) -> None:
        """Go on as another process would: with nothing but what is stored."""
        self.adapters = self.adapters.again()
        self.verbs = Verbs(self.adapters, self._keys)

    def until_done(self, act: Callable[[], Any], cut_after: int) -> Any:  # noqa: ANN401  what is done
        """Do something that is cut off, restart, and repeat it until it is done."""
        for attempt in range(9):
            try:
                with self.adapters.cut(cut_after + attempt * cut_after):
                    done = act()
            except Unavailable:
                self.restart()
                continue
            if isinstance(done, Unavailable):
                self.restart()
                continue
            self.restart()
            return done
        return act()

    def close(self) -> None:
        """Remove the store."""
        self._context.__exit__(None, None, None)


class _Beside(RuleBasedStateMachine):
    makes: tuple[Make, ...]
    keys: Keys

    def __init__(self) -> None:
        super().__init__()
        self._stores = [_Store(make, self.keys) for make in self.makes]
        self._model = Model()
        self._now = NOW
        self._tokens: list[Token] = []
        self._spent: list[tuple[str, str]] = []
        self._restored: list[str] = []

    def teardown(self) -> None:
        """Remove the stores."""
        for store in self._stores:
            store.close()

    @initialize(grants=st.fixed_dictionaries({name: st.tuples(_LIMIT, _LIMIT) for name in _GRANTS}))
    def begin(self, grants: dict[str, tuple[Limit, Limit]]) -> None:
        """Start with a policy."""
        self.change_policy(grants, _WHOLE)

    @rule(grants=_POLICY, cut_after=_CUT)
    def change_policy(self, grants: dict[str, tuple[Limit, Limit]], cut_after: int) -> None:
        """Grants come, go, and change their limits."""
        for name in self._model.grants.keys() - grants.keys():
            self._model.epochs["grant", name] += 1
        self._model.grants = grants
        self._model.known |= grants.keys()
        self._model.version += 1
        made = policy(
            *(grant(name, issued=(issued,), calls=(calls,)) for name, (issued, calls) in grants.items()),
            issuers=(issuer(single_use=True),),
        )
        for store in self._stores:
            stored = store.until_done(lambda store=store: self._apply(store, made), cut_after)  # type: ignore[misc]
            assert stored.version == self._model.version

    def _apply(self, store: _Store, made: Policy) -> StoredPolicy:
        current = store.adapters.control.current()
        if current.version == self._model.version:
            return current  # it was cut off after it was done
        event = samples.event("policy.applied", at=self._now)
        return store.adapters.control.apply(made, f"text {self._model.version}", current.version, event)

    @rule(expected=st.sampled_from((-1, 1)))
    def lose_the_race(self, expected: int) -> None:
        """A plan against another version of the policy changes nothing."""
        version, applied = self._model.version + expected, samples.event("policy.applied", at=self._now)
        for store in self._stores:
            with pytest.raises(Refusal, match="policy_changed"):
                store.adapters.control.apply(policy(), "another text", version, applied)

    @rule()
    def raise_the_limits(self) -> None:
        """Every grant gets one more call: what was refused until now must not have counted."""
        raised = {
            name: (issued, Limit(calls.count + 1, calls.window)) for name, (issued, calls) in self._model.grants.items()
        }
        self.change_policy(raised, _WHOLE)

    @rule(seconds=st.sampled_from((1, 60, 600, 3600, 86400)))
    def move_the_clock(self, seconds: int) -> None:
        """Time passes."""
        self._now += seconds

    @rule()
    def crash(self) -> None:
        """Every process dies and comes back."""
        for store in self._stores:
            store.restart()

    @rule(subject=_WHO, name=_NAME, cut_after=_CUT)
    def issue(self, subject: str, name: str, cut_after: int) -> None:
        """A fresh identity token is exchanged."""
        subject_token, targets = self._stores[0].verbs.subject_token(subject, self._now), _targets(subject, name)
        expected = (
            name in self._model.grants
            and not self._model.blocked(targets, self._now)
            and self._model.count("tokens", targets, self._now)
        )
        key, texts = samples.new_id() * 2, []
        for store in self._stores:
            issued = store.until_done(
                lambda store=store: store.verbs.exchange(subject_token, name, self._now, key),  # type: ignore[misc]
                cut_after,
            )
            assert isinstance(issued, str) is expected, issued
            texts.append(issued)
        if not expected:
            return
        self._spent.append((subject_token, name))
        epochs = [self._model.epochs[scope, targets[scope]] for scope in EPOCHS]
        assert [claims_of(one)["ep"] for one in texts] == [epochs] * len(texts)
        self._tokens.append(Token(texts, targets, epochs, self._now + 900))

    @precondition(lambda self: self._spent)
    @rule(data=st.data())
    def replay(self, data: Any) -> None:  # noqa: ANN401  hypothesis gives its type no name of its own
        """A spent identity token opens nothing, ever."""
        subject_token, name = data.draw(st.sampled_from(self._spent))
        for store in self._stores:
            assert isinstance(store.verbs.exchange(subject_token, name, self._now), Refusal)

    @rule(subject=_WHO, name=_NAME, times=st.integers(1, 6))
    def issue_and_call(self, subject: str, name: str, times: int) -> None:
        """A fresh token, if there is one, is used at once."""
        issued = len(self._tokens)
        self.issue(subject, name, _WHOLE)
        for token in self._tokens[issued:] * times:
            self._call(token)

    @precondition(lambda self: self._tokens)
    @rule(data=st.data(), times=st.integers(1, 4))
    def call(self, data: Any, times: int) -> None:  # noqa: ANN401  as above
        """A token from before is used, a few times on end."""
        token = data.draw(st.sampled_from(self._tokens))
        for _ in range(times):
            self._call(token)

    def _call(self, token: Token) -> None:
        epochs = [self._model.epochs[scope, token.targets[scope]] for scope in EPOCHS]
        expected = (
            self._now < token.expires
            and not self._model.blocked(token.targets, self._now)
            and epochs == token.epochs
            and not any(self._model.epochs["token", jti_of(text)] for text in token.texts)
            and token.targets["grant"] in self._model.grants
            and self._model.count("calls", token.targets, self._now)
        )
        for store, text in zip(self._stores, token.texts, strict=True):
            refusal = store.verbs.call(text, self._now)
            assert (refusal is None) is expected, refusal

    @rule(subject=_WHO, name=_NAME, scope=_SCOPE, until=_UNTIL, cut_after=_CUT)
    def revoke(self, subject: str, name: str, scope: str, until: int | None, cut_after: int) -> None:
        """Anything but a token is revoked."""
        target = _targets(subject, name)[scope]
        made = samples.revocation(scope, target, at=self._now, until=None if until is None else self._now + until)
        known = scope != "grant" or target in self._model.known
        for store in self._stores:
            assert self._revoke(store, made, cut_after) is known
        if known:
            self._model.epochs[scope, target] += 1
            self._model.blocks[made.id] = ((scope, target), made.until)

    @precondition(lambda self: self._tokens)
    @rule(data=st.data())
    def revoke_a_token(self, data: Any) -> None:  # noqa: ANN401  as above
        """A token is revoked: in each store, the one that it issued."""
        token = data.draw(st.sampled_from(self._tokens))
        for store, text in zip(self._stores, token.texts, strict=True):
            assert self._revoke(store, samples.revocation("token", jti_of(text), at=self._now), _WHOLE)
            self._model.epochs["token", jti_of(text)] += 1

    def _revoke(self, store: _Store, made: Revocation, cut_after: int) -> bool:
        """Revoke it; whether there was something of this name."""

        def act() -> Revocation:
            return store.adapters.control.revoke(made, samples.event("revocation.made", at=self._now))

        try:
            assert store.until_done(act, cut_after) == made
        except Refusal as refusal:
            assert refusal.reason == "no_such_thing"  # noqa: PT017  either outcome may be right
            return False
        return True

    @precondition(lambda self: self._model.blocks or self._restored)
    @rule(data=st.data(), cut_after=_CUT)
    def restore(self, data: Any, cut_after: int) -> None:  # noqa: ANN401  as above
        """A revocation is restored, for the first time or again."""
        self._restore(data.draw(st.sampled_from([*self._model.blocks, *self._restored])), cut_after)

    @precondition(lambda self: self._model.blocks)
    @rule()
    def restore_all(self) -> None:
        """Every revocation is restored."""
        for made in tuple(self._model.blocks):
            self._restore(made, _WHOLE)

    def _restore(self, made: str, cut_after: int) -> None:
        for store in self._stores:
            event = samples.event("revocation.lifted", at=self._now)
            restored = store.until_done(
                lambda store=store, event=event: store.adapters.control.restore(made, "tester", event),  # type: ignore[misc]
                cut_after,
            )
            assert restored is not None
        if self._model.blocks.pop(made, None):
            self._restored.append(made)

    @invariant()
    def what_was_counted_and_recorded_is_the_same(self) -> None:
        """However often anything was cut off, each token has one event and one unit, in each store."""
        issued = sum(
            count for (what, *_, window, _), count in self._model.counted.items() if (what, window) == ("tokens", "day")
        )
        query = Query({"kind": "token.issued"}, since=NOW, limit=1000)  # from when the clock starts, not years back
        for store in self._stores:
            assert len(every_event(store.adapters.ledger, query)) == issued


_CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def _run(makes: tuple[Make, ...], directory: Path, examples: int, steps: int) -> None:
    class Beside(_Beside):
        pass

    Beside.makes, Beside.keys = tuple(map(staticmethod, makes)), Keys(directory)
    run_state_machine_as_test(
        Beside,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=_CHECKS,
        ),
    )


@pytest.mark.slow
def test_stores_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite, DynamoDB and the model admit and refuse the same."""
    monkeypatch.setattr(target_items, "COPIES", "0123")  # moto takes some milliseconds for each; all 16 are below
    _run((sqlite_adapters.made, dynamodb_adapters.made), tmp_path, examples=4, steps=12)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stores_agree_for_long(tmp_path: Path) -> None:
    """The same, far longer."""
    _run((sqlite_adapters.made, dynamodb_adapters.made), tmp_path, examples=20, steps=40)


@pytest.mark.slow
def test_sqlite_agrees_for_long(tmp_path: Path) -> None:
    """SQLite and the model admit and refuse the same, far longer."""
    _run((sqlite_adapters.made,), tmp_path, examples=60, steps=40)


@pytest.mark.ministack
def test_ministack_agrees(over_ministack: Make, tmp_path: Path) -> None:
    """DynamoDB as ministack has it, with all copies, agrees with SQLite and the model."""
    _run((sqlite_adapters.made, over_ministack), tmp_path, examples=6, steps=20)
