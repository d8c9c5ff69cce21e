"""`kill -9` at every step of what administrators write, and a write-ahead log that was cut: whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chalicelib.errors import Refusal
from chalicelib.revocation import EVERYTHING, SCOPES, Revocation, RevocationTarget
from local.sqlite.state_file import StateFile
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER, NOW, SUB, grant, issuer, jti_of, policy, put_in_force, wanted
from tests.races.actor import Actor, keys_in
from tests.races.deaths import copy_of, deaths, left_in, opened
from tests.races.dying import LastAct, Nursery, OverSqlite, nursery
from tests.races.last_acts import Apply, Exchange, Lift, Revoke

pytestmark = pytest.mark.slow  # a process is born for each step at which it dies
_TARGETS = {"everything": EVERYTHING.id, "issuer": ISSUER, "key": "openai", "grant": "ci", "principal": SUB}
_OLD = (grant(), grant("narrow"))
_NEW = policy(grant("narrow")._replace(ttl=600), grant("new"), keys=("openai", "internal"))
WAL_HEADER, FRAME = 32, 24 + 4096
"""Bytes (sqlite.org/fileformat.html section 4)."""


@pytest.fixture(scope="module")
def born() -> Iterator[Nursery]:
    """Where processes come from."""
    with nursery() as one:
        yield one


@dataclass(frozen=True)
class Template:
    """A state file with a policy, closed, and a token that opens it."""

    path: Path
    token: str

    def actor(self, adapters: Adapters) -> Actor:
        """Return a caller."""
        return Actor.over(adapters, keys_in(self.path.parent))

    def revocation(self, scope: str) -> Revocation:
        """Return a revocation that stops the token."""
        return samples.revocation(scope, _TARGETS.get(scope, jti_of(self.token)), id=f"revocation-of-{scope}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """What everything starts from."""
    path = tmp_path_factory.mktemp("template") / "state.db"
    StateFile.create(path)
    with opened(path) as adapters:
        adapters.control.list_signing_keys((keys_in(path.parent).broker.kid(),))
        put_in_force(adapters.control, *_OLD, issuers=(issuer(single_use=True),))
        actor = Actor.over(adapters, keys_in(path.parent))
        return Template(path, actor.exchange(actor.subject_token("build-1", NOW), NOW))


def _reason(template: Template, adapters: Adapters) -> str:
    """Return why the token opens nothing, or ""."""
    try:
        template.actor(adapters).call(template.token, NOW)
    except Refusal as refusal:
        return refusal.reason
    return ""


def _standing(made: Revocation, path: Path) -> tuple[int, bool, int, int]:
    """Return a thing's epoch, whether it is blocked, and how many records and events say so."""
    with opened(path) as adapters:
        revocation_states = adapters.control.revocation_state(RevocationTarget(made.scope, made.target))
        records = adapters.control.revocations(made.scope, "", 10).revocations
    left = left_in(path)
    assert left.integrity == "ok"
    return revocation_states.epoch, revocation_states.blocked(NOW), len(records), left.events["revocation.made"]


@pytest.mark.parametrize("scope", SCOPES)
class TestRevocation:
    """A revocation, and its end."""

    def test_it_is_in_force_whole_or_not_at_all_and_repeating_finishes_it(
        self, born: Nursery, template: Template, scope: str, tmp_path: Path
    ) -> None:
        made = template.revocation(scope)
        found = deaths(born, Revoke(made), template.path, tmp_path / "deaths")
        revocation_states = [_standing(made, one.path) for one in found.every]
        switch = found.steps().index("after control.revoke")
        assert revocation_states == [(0, False, 0, 0)] * switch + [(1, True, 1, 1)] * (len(revocation_states) - switch)
        assert all(found.steps().index(one.step) > switch for one in found.every if one.answer)
        for one in found.every:
            with opened(one.path) as adapters:
                adapters.control.revoke(made, samples.event("revocation.made"))
                assert _reason(template, adapters) == f"revoked_{scope}"
            assert _standing(made, one.path) == (1, True, 1, 1)

    def test_its_end_is_written_whole_or_not_at_all_and_repeating_finishes_it(
        self, born: Nursery, template: Template, scope: str, tmp_path: Path
    ) -> None:
        made, path = template.revocation(scope), tmp_path / "revoked.db"
        shutil.copy(template.path, path)
        with opened(path) as adapters:
            adapters.control.revoke(made, samples.event("revocation.made"))
        found = deaths(born, Lift(made), path, tmp_path / "deaths")
        switch = found.steps().index("after control.restore")
        for number, one in enumerate(found.every):
            lifted = number >= switch
            assert _standing(made, one.path) == (1, not lifted, 1, 1)
            assert left_in(one.path).events["revocation.lifted"] == lifted
            with opened(one.path) as adapters:
                assert _reason(template, adapters) == (f"stale_{scope}" if lifted else f"revoked_{scope}")
                adapters.control.restore(made.id, "tester", samples.event("revocation.lifted"))
                assert _reason(template, adapters) == f"stale_{scope}"
            assert left_in(one.path).events["revocation.lifted"] == 1


def _in_force(path: Path) -> tuple[int, str, list[tuple[str, int]], list[str], int]:
    """Return the policy's version and text, its grants with their ttl, its keys, and how often it was applied."""
    with opened(path) as adapters:
        current = adapters.control.current()
        grants = sorted((one.name, one.ttl) for one, _ in adapters.ledger.find(wanted()).grants or ())
        applied = left_in(path).events["policy.applied"]
        keys = [one.name for one in adapters.control.keys(samples.event("keys.read"))]
    return current.version, current.text, grants, keys, applied


_BEFORE = (1, "the text of the file", [("ci", 900), ("narrow", 900)], ["openai"], 1)
_AFTER = (2, "the new text", [("narrow", 600), ("new", 900)], ["internal", "openai"], 2)


def test_a_policy_is_never_in_force_in_part_and_repeating_finishes_it(
    born: Nursery, template: Template, tmp_path: Path
) -> None:
    found = deaths(born, Apply(_NEW), template.path, tmp_path / "deaths")
    switch = found.steps().index("after control.apply")
    for number, one in enumerate(found.every):
        applied = number >= switch
        assert left_in(one.path).integrity == "ok"
        assert _in_force(one.path) == (_AFTER if applied else _BEFORE), one.step
        assert applied or not one.answer
        assert _applied(one.path) == ("policy_changed" if applied else "applied")
        assert _in_force(one.path) == _AFTER


def _applied(path: Path) -> str:
    with opened(path) as adapters:
        try:
            adapters.control.apply(_NEW, "the new text", 1, samples.event("policy.applied"))
        except Refusal as refusal:
            return refusal.reason
    return "applied"


@pytest.mark.parametrize("what", ["exchange", "revoke", "apply"])
def test_truncated_write_ahead_log(born: Nursery, template: Template, what: str, tmp_path: Path) -> None:
    """Wherever the write-ahead log is truncated, a transaction in it is restored completely or not at all."""
    with opened(template.path) as adapters:
        subject_token = template.actor(adapters).subject_token("build-2", NOW)
    acts: dict[str, LastAct] = {
        "exchange": Exchange(subject_token, ""),
        "revoke": Revoke(template.revocation("grant")),
        "apply": Apply(_NEW),
    }
    path = tmp_path / "state.db"
    shutil.copy(template.path, path)
    born.run(acts[what], OverSqlite(path), template.path.parent)
    log = path.with_name("state.db-wal").read_bytes()
    before, after = left_in(template.path), left_in(copy_of(path, tmp_path / "whole"))
    assert before != after
    frames = range(WAL_HEADER, len(log), FRAME)
    assert len(frames) > 2
    assert frames[-1] + FRAME == len(log)
    for cut in sorted({0, 16, *frames, *(start + 24 for start in frames), *(start + 2000 for start in frames)}):
        torn = tmp_path / f"{cut}.db"
        shutil.copy(path, torn)
        torn.with_name(f"{torn.name}-wal").write_bytes(log[:cut])
        assert left_in(torn) == before, cut
