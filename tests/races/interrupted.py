"""What must hold if DynamoDB is lost at any request: changes are whole or retried, and no token is without a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from chalicelib import quota
from chalicelib.audit import Event
from chalicelib.aws.dynamodb import Tables, read_batch
from chalicelib.aws.target_items import BLOCK, keys
from chalicelib.errors import Refusal, Unavailable
from chalicelib.policy.compile import Policy
from chalicelib.quota import Limit
from chalicelib.revocation import EVERYTHING, Revocation, RevocationTarget
from tests.contracts import dynamodb_adapters, samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER, NOW, grant, issuer, jti_of, new_id, policy, put_in_force, wanted
from tests.dynamodb_stage import settle
from tests.faulty_dynamodb import Door
from tests.races.actor import Actor, idempotency_key, keys_in
from tests.races.cut_off import Cut, Line, door_line, line
from tests.races.records import events

_TEAM = grant(calls=(Limit(2, "day"),))._replace(claims=((("team",), ("a",)),))
_OLD = (_TEAM, grant("narrow"), grant("spare"))
_NEW = policy(grant("narrow")._replace(ttl=600), grant("new"), keys=("openai", "internal"))
_OTHER = policy(grant("spare"), grant("other"))
Act = Callable[[], object]


@dataclass(frozen=True)
class Interrupted:
    """Three tables with a policy in force, and key pairs. door: the edge's own client goes through it, and is cut off there."""

    tables: Tables
    directory: Path
    door: Door | None = None

    @property
    def adapters(self) -> Adapters:
        """Adapters over the tables."""
        return dynamodb_adapters.over(self.tables, self.door.edge_client if self.door else None)

    def line(self, cut: Cut | None = None) -> AbstractContextManager[Line]:
        """Let what is done go over a line."""
        return door_line(self.door, cut) if self.door else line(self.tables.client, cut)

    @property
    def actor(self) -> Actor:
        """A caller who exchanges and calls."""
        return Actor.over(self.adapters, keys_in(self.directory))

    def prepare(self) -> Interrupted:
        """Put the policy in force."""
        self.adapters.control.list_signing_keys((keys_in(self.directory).broker.kid(),))
        put_in_force(self.adapters.control, *_OLD, issuers=(issuer(single_use=True),))
        return self

    def cuts(self, act: Act) -> Iterator[tuple[Cut, str]]:
        """Do it once to see what it sends; then, for each request, both ways of losing it, and what was sent there."""
        with self.line() as counted:
            act()
        for at, operation in enumerate(counted.sent):
            for carried_out in (False, True):
                yield Cut(at, carried_out), operation

    def cut_off(self, cut: Cut, act: Act) -> None:
        """Do it and be cut off."""
        with self.line(cut) as one:
            try:
                act()
            except Unavailable:
                pass
            else:
                raise AssertionError("it said that it was done, though its last answers were lost")
            settle()  # what was sent beside the request that was lost is lost, too, and does not arrive later
        assert one.is_cut

    def events(self, principal: str = "", kind: str = "token.issued") -> list[str]:
        """Return the `jti` of each event of a kind, of one principal or of all."""
        about = {"kind": kind} | ({"principal": principal} if principal else {})
        return [one.jti for one in events(self.adapters.ledger, **about)]

    def copies(self, target: RevocationTarget) -> Counter[tuple[int, bool]]:
        """Return epoch and whether it is blocked, of every copy of a thing."""
        items = read_batch(self.tables, {self.tables.control: keys(target)})
        return Counter(
            (int(one.get("epoch", {"N": "0"})["N"]), any(name.startswith(BLOCK) for name in one)) for one in items
        )

    def subject_token(self, subject: str) -> str:
        """Return an identity token that the grant `ci` admits, for any subject."""
        return self.actor.subject_token(subject, NOW, team="a")

    def exchange(self, subject_token: str, idempotency_key: str = "") -> str:
        """Exchange it and return the `jti`, or why there was none; raises Unavailable."""
        try:
            return jti_of(self.actor.exchange(subject_token, NOW, idempotency_key))
        except Unavailable:
            raise
        except Refusal as refusal:
            return refusal.reason

    def taken(self, what: str, sub: str) -> dict[str, int]:
        """Return what each of a principal's counters holds."""
        return {one.window: self.adapters.counted(one)[0] for one in quota.counters(what, "ci", sub, NOW)}


Make = Callable[[], AbstractContextManager[Interrupted]]
"""Makes tables of one's own, and removes them."""


def exchanges(here: Interrupted, *, key: bool) -> None:
    """A token is recorded, counted and locked at once, or not at all; the retry gets it, or the first, or is a replay."""
    for cut, operation in here.cuts(lambda: here.exchange(here.subject_token(new_id()))):
        subject, named = new_id(), idempotency_key() if key else ""
        sub, subject_token = f"{ISSUER}|sub:{subject}", here.subject_token(subject)
        here.cut_off(cut, partial(here.exchange, subject_token, named))
        before = here.events(sub)
        assert len(before) == (cut.carried_out and operation == "TransactWriteItems")
        assert set(here.taken("tokens", sub).values()) == {len(before)}
        said = [here.exchange(subject_token, named) for _ in range(2)]
        [jti] = after = here.events(sub)
        assert after == (before or after)
        if key:
            assert said == [jti] * 2
        else:
            assert said == (["replayed"] * 2 if before else [jti, "replayed"])
        assert set(here.taken("tokens", sub).values()) == {1}


def calls(here: Interrupted) -> None:
    """A call that was cut off is not admitted; it may have cost a number, and never more than the limit is admitted."""
    token = here.actor.exchange(here.subject_token(new_id()), NOW)
    for cut, _ in here.cuts(lambda: here.actor.call(token, NOW)):
        subject = new_id()
        mine = here.actor.exchange(here.subject_token(subject), NOW)
        here.cut_off(cut, partial(here.actor.call, mine, NOW))
        lost = here.taken("calls", f"{ISSUER}|sub:{subject}")
        assert set(lost.values()) <= {0, 1}
        assert sum(here.actor.is_within_quota(mine, NOW) for _ in range(4)) == 2 - lost["day"]


def revocations(here: Interrupted, scope: str) -> None:
    """A revocation is on every copy, with its record and event, or nowhere; repeating finishes it; so does its end."""
    target_id = {"everything": EVERYTHING.id, "issuer": ISSUER, "key": "openai", "grant": "ci"}.get(scope, new_id())
    first, event = _asked(scope, target_id)
    cuts = [*here.cuts(partial(here.adapters.control.revoke, first, event))]
    here.adapters.control.restore(first.id, "tester", samples.event("revocation.lifted"))
    for cut, operation in cuts:
        target = RevocationTarget(scope, target_id if scope in ("everything", "issuer", "key", "grant") else new_id())
        made, event = _asked(scope, target.id)
        before, revoked = here.copies(target), len(here.events(kind="revocation.made"))
        here.cut_off(cut, partial(here.adapters.control.revoke, made, event))
        done = cut.carried_out and operation == "TransactWriteItems"
        assert here.copies(target) == (_one_more(target, before) if done else before)
        assert len(here.events(kind="revocation.made")) == revoked + done
        here.adapters.control.revoke(made, replace(event, id=new_id()))
        assert here.copies(target) == _one_more(target, before)
        assert len(here.events(kind="revocation.made")) == revoked + 1
        assert here.adapters.control.restore(made.id, "tester", samples.event("revocation.lifted"))


def restorations(here: Interrupted, scope: str) -> None:
    """The end of a revocation is on every copy, with its event, or nowhere; repeating finishes it."""
    target_id = {"everything": EVERYTHING.id, "issuer": ISSUER, "key": "openai", "grant": "ci"}.get(scope, new_id())
    target = RevocationTarget(scope, target_id)

    def revoked() -> Revocation:
        return here.adapters.control.revoke(*_asked(scope, target_id))

    def restore(made: Revocation) -> None:
        assert here.adapters.control.restore(made.id, "tester", samples.event("revocation.lifted"))

    first = revoked()
    for cut, operation in here.cuts(partial(restore, first)):
        made = revoked()
        before, lifted = here.copies(target), len(here.events(kind="revocation.lifted"))
        here.cut_off(cut, partial(restore, made))
        done = cut.carried_out and operation == "TransactWriteItems"
        after = Counter({(epoch, False): copies for (epoch, _), copies in before.items()})
        assert here.copies(target) == (after if done else before)
        assert len(here.events(kind="revocation.lifted")) == lifted + done
        restore(made)
        assert here.copies(target) == after
        assert len(here.events(kind="revocation.lifted")) == lifted + 1


def _asked(scope: str, target: str) -> tuple[Revocation, Event]:
    return samples.revocation(scope, target), samples.event("revocation.made")


def _one_more(target: RevocationTarget, before: Counter[tuple[int, bool]]) -> Counter[tuple[int, bool]]:
    """Return how the copies stand after one more revocation."""
    [(epoch, _)] = before or {(0, False): 0}
    return Counter({(epoch + 1, True): len(keys(target))})


def policy_is_finished_by_repeating(make: Make) -> None:
    """An apply that was cut off gives nobody more than the old policy and the new; repeated, or overruled, it is whole."""
    with make() as first:
        here = first.prepare()
        cuts = [*here.cuts(partial(_apply, here, _NEW, "the new text"))]
    for cut, _ in cuts:
        for text, made in (("the new text", _NEW), ("another text", _OTHER)):
            with make() as fresh:
                _cut_and_finish(fresh.prepare(), cut, text, made)


def _cut_and_finish(here: Interrupted, cut: Cut, text: str, made: Policy) -> None:
    here.cut_off(cut, partial(_apply, here, _NEW, "the new text"))
    version, found = here.adapters.control.current().version, _grants(here)
    assert len(here.events(kind="policy.applied")) == version
    if "new" in found or version == 2:  # what is new comes last
        assert {"ci": 900, "spare": 900}.keys().isdisjoint(found)
        assert found["narrow"] == 600
    assert version == 1 or found == {"narrow": 600, "new": 900}
    said = _applied(here, made, text)
    assert said == ("applied" if version == 1 else "policy_changed")
    if version == 1:
        assert _grants(here) == {one.name: one.ttl for one in made.grants.values()}
    assert here.adapters.control.current().text == (text if version == 1 else "the new text")
    assert len(here.events(kind="policy.applied")) == 2


def _applied(here: Interrupted, made: Policy, text: str) -> str:
    try:
        _apply(here, made, text)
    except Refusal as refusal:
        return refusal.reason
    return "applied"


def _apply(here: Interrupted, made: Policy, text: str) -> None:
    here.adapters.control.apply(made, text, 1, samples.event("policy.applied"))


def _grants(here: Interrupted) -> dict[str, int]:
    return {one.name: one.ttl for one, _ in here.adapters.ledger.find(wanted()).grants or ()}
