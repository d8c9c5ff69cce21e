"""Adapters beside a model of dicts: whatever is done in whatever order, both admit and refuse the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from chalicelib.errors import Refusal
from chalicelib.quota import WINDOWS, Limit
from chalicelib.revocation import EPOCHS
from chalicelib.tokens import LEEWAY
from tests.contracts import samples
from tests.contracts.adapters import Make
from tests.contracts.samples import ISSUER, NOW, grant, issuer, policy, put_in_force
from tests.contracts.verbs import Keys, Verbs, claims_of

_SUBJECTS, _GRANTS = ("build-1", "build-2"), ("a", "b")
_WHO = st.sampled_from(_SUBJECTS)
_NAME = st.sampled_from(_GRANTS)
_LIMIT = st.builds(Limit, st.integers(1, 4), st.sampled_from(("day", "hour", "minute")))
_POLICY = st.dictionaries(_NAME, st.tuples(_LIMIT, _LIMIT))
_UNTIL = st.sampled_from((None, 1, 30, 60))
_SCOPE = st.sampled_from((*EPOCHS, "grant", "principal", "principal"))


@dataclass
class Token:
    """What the model knows of an issued token. things: by scope."""

    text: str
    things: dict[str, str]
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

    def blocked(self, things: dict[str, str], now: int) -> bool:
        """Whether anything blocks one of these things."""
        blocked = {thing for thing, until in self.blocks.values() if until is None or now < until}
        return bool(blocked & set(things.items()))

    def count(self, what: str, things: dict[str, str], now: int) -> bool:
        """Count one more and say so, unless that is beyond the limit."""
        limit = self.grants[things["grant"]][what == "calls"]
        of = (what, things["grant"], things["principal"])
        if self.counted[*of, limit.window, now // WINDOWS[limit.window]] >= limit.count:
            return False
        for window, seconds in WINDOWS.items():
            self.counted[*of, window, now // seconds] += 1
        return True


def _things(subject: str, name: str) -> dict[str, str]:
    sub = f"{ISSUER}|sub:{subject}"
    return {"everything": "*", "issuer": ISSUER, "key": "openai", "grant": name, "principal": sub}


class _Beside(RuleBasedStateMachine):
    make: Make
    keys: Keys

    def __init__(self) -> None:
        super().__init__()
        self._context = self.make()
        self._adapters = self._context.__enter__()
        self._verbs = Verbs(self._adapters, self.keys)
        self._model = Model()
        self._now = NOW
        self._tokens: list[Token] = []
        self._spent: list[tuple[str, str]] = []
        self._lifted: list[str] = []

    def teardown(self) -> None:
        """Remove the store."""
        self._context.__exit__(None, None, None)

    @initialize(grants=st.fixed_dictionaries({name: st.tuples(_LIMIT, _LIMIT) for name in _GRANTS}))
    def begin(self, grants: dict[str, tuple[Limit, Limit]]) -> None:
        """Start with a policy."""
        self.change_policy(grants)

    @rule(grants=_POLICY)
    def change_policy(self, grants: dict[str, tuple[Limit, Limit]]) -> None:
        """Grants come, go, and change their limits."""
        self._model.grants = grants
        self._model.known |= grants.keys()
        made = [grant(name, issued=(issued,), calls=(calls,)) for name, (issued, calls) in grants.items()]
        self._model.version += 1
        stored = put_in_force(self._adapters.control, *made, issuers=(issuer(single_use=True),), at=self._now)
        assert stored.version == self._model.version

    @rule(expected=st.sampled_from((-1, 1)))
    def lose_the_race(self, expected: int) -> None:
        """Whoever planned against another version of the policy changes nothing."""
        version, applied = self._model.version + expected, samples.event("policy.applied", at=self._now)
        with pytest.raises(Refusal, match="policy_changed"):
            self._adapters.control.apply(policy(), "another text", version, applied)

    @rule()
    def raise_the_limits(self) -> None:
        """Every grant gets one more call: what was refused until now must not have counted."""
        self.change_policy(
            {
                name: (issued, Limit(calls.count + 1, calls.window))
                for name, (issued, calls) in self._model.grants.items()
            }
        )

    @rule(seconds=st.sampled_from((1, 60, 600, 3600, 86400)))
    def move_the_clock(self, seconds: int) -> None:
        """Time passes."""
        self._now += seconds

    @rule(subject=_WHO, name=_NAME)
    def issue(self, subject: str, name: str) -> None:
        """A fresh identity token is exchanged."""
        subject_token, things = self._verbs.subject_token(subject, self._now), _things(subject, name)
        expected = (
            name in self._model.grants
            and not self._model.blocked(things, self._now)
            and self._model.count("tokens", things, self._now)
        )
        issued = self._verbs.exchange(subject_token, name, self._now)
        assert isinstance(issued, str) is expected, issued
        if isinstance(issued, str):
            self._spent.append((subject_token, name))
            things["token"] = str(claims_of(issued)["jti"])
            epochs = [self._model.epochs[scope, things[scope]] for scope in EPOCHS]
            assert claims_of(issued)["ep"] == epochs
            self._tokens.append(Token(issued, things, epochs, self._now + 900))

    @precondition(lambda self: self._spent)
    @rule(data=st.data())
    def replay(self, data: Any) -> None:  # noqa: ANN401  hypothesis gives its type no name of its own
        """A spent identity token opens nothing, ever."""
        subject_token, name = data.draw(st.sampled_from(self._spent))
        assert isinstance(self._verbs.exchange(subject_token, name, self._now), Refusal)

    @rule(subject=_WHO, name=_NAME, times=st.integers(1, 6))
    def issue_and_call(self, subject: str, name: str, times: int) -> None:
        """A fresh token, if there is one, is used at once."""
        issued = len(self._tokens)
        self.issue(subject, name)
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
        expected = (
            self._now < token.expires + LEEWAY
            and not self._model.blocked(token.things, self._now)
            and [self._model.epochs[scope, token.things[scope]] for scope in EPOCHS] == token.epochs
            and not self._model.epochs["token", token.things["token"]]
            and token.things["grant"] in self._model.grants
            and self._model.count("calls", token.things, self._now)
        )
        refusal = self._verbs.call(token.text, self._now)
        assert (refusal is None) is expected, refusal

    @rule(subject=_WHO, name=_NAME, scope=_SCOPE, until=_UNTIL)
    def revoke(self, subject: str, name: str, scope: str, until: int | None) -> None:
        """Anything but a token is taken back."""
        self._revoke(scope, _things(subject, name)[scope], until)

    @precondition(lambda self: self._tokens)
    @rule(data=st.data(), until=_UNTIL)
    def revoke_a_token(self, data: Any, until: int | None) -> None:  # noqa: ANN401  as above
        """A token is taken back."""
        self._revoke("token", data.draw(st.sampled_from(self._tokens)).things["token"], until)

    def _revoke(self, scope: str, target: str, until: int | None) -> None:
        ends = None if until is None else self._now + until
        made = samples.revocation(scope, target, at=self._now, until=ends)
        try:
            self._adapters.control.revoke(made, samples.event("revocation.made", at=self._now))
        except Refusal as refusal:
            assert (refusal.reason, scope, target in self._model.known) == ("no_such_thing", "grant", False)  # noqa: PT017  either outcome may be right
            return
        assert scope != "grant" or target in self._model.known
        self._model.epochs[scope, target] += 1
        self._model.blocks[made.id] = ((scope, target), ends)

    @precondition(lambda self: self._model.blocks or self._lifted)
    @rule(data=st.data())
    def lift(self, data: Any) -> None:  # noqa: ANN401  as above
        """A revocation is lifted, for the first time or again."""
        self._lift(data.draw(st.sampled_from([*self._model.blocks, *self._lifted])))

    @precondition(lambda self: self._model.blocks)
    @rule()
    def lift_all(self) -> None:
        """Every revocation is lifted."""
        for made in tuple(self._model.blocks):
            self._lift(made)

    def _lift(self, made: str) -> None:
        lifted = self._adapters.control.lift(made, "tester", samples.event("revocation.lifted", at=self._now))
        assert lifted is not None
        if self._model.blocks.pop(made, None):
            self._lifted.append(made)


def test_whatever_is_done_in_whatever_order_adapters_and_model_agree(make_adapters: Make, tmp_path: Path) -> None:
    class Beside(_Beside):
        make = staticmethod(make_adapters)
        keys = Keys(tmp_path)

    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Beside,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=checks,
        ),
    )
