"""The rules of `chalicelib.tokens.key_list.SigningKeyLists`, whatever it is kept in."""

from __future__ import annotations

import pytest

from chalicelib.audit import Query
from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import StateQuery
from chalicelib.revocation import EVERYTHING
from chalicelib.tokens.key_list import SigningKeyList
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER, NOW, SIX, calls, grant, put_in_force
from tests.every_event import every_event

FIRST = SigningKeyList(("kid-1",))
BOTH = FIRST.prepare("kid-2", NOW)
SWITCHED = BOTH.taint("kid-1", NOW)


def test_nothing_is_listed_at_first(adapters: Adapters) -> None:
    """Where no key was ever listed, the list is empty."""
    assert adapters.control.signing_key_list() == SigningKeyList()


def test_a_change_is_in_force_everywhere(adapters: Adapters) -> None:
    """A list that was acknowledged is what administrators, edges and exchanges read, with its event; revocations stay."""
    put_in_force(adapters.control, grant())
    adapters.control.revoke(samples.revocation("everything", EVERYTHING.id), samples.event("revocation.made"))
    adapters.control.list_signing_keys(("kid-1",))
    adapters.control.change_signing_keys(FIRST, SWITCHED, samples.event("signing.tainted"))
    assert adapters.control.signing_key_list() == SWITCHED
    seen = adapters.edge_state.read_and_count(SIX, calls())
    assert (seen.signing_keys, seen.states["everything"].epoch) == (("kid-2",), 1)
    found = adapters.ledger.find(StateQuery((EVERYTHING,), ISSUER, "openai", None, NOW))
    assert found.signs == "kid-2"
    assert [one.kind for one in every_event(adapters.ledger, Query({"kind": "signing.tainted"}))] == ["signing.tainted"]


def test_a_change_of_another_list_is_refused(adapters: Adapters) -> None:
    """Of two administrators who change the same list, the second is refused, and nothing of it is kept."""
    adapters.control.list_signing_keys(("kid-1",))
    adapters.control.change_signing_keys(FIRST, BOTH, samples.event("signing.prepared"))
    with pytest.raises(Refusal, match=r"^signing_keys_changed$"):
        adapters.control.change_signing_keys(FIRST, SWITCHED, samples.event("signing.tainted"))
    assert adapters.control.signing_key_list() == BOTH
    assert every_event(adapters.ledger, Query({"kind": "signing.tainted"})) == []


def test_a_first_list_can_be_changed(adapters: Adapters) -> None:
    """A list is put in force where there was none."""
    adapters.control.change_signing_keys(SigningKeyList(), FIRST, samples.event("signing.prepared"))
    assert adapters.control.signing_key_list() == FIRST
