"""The rules of `Policies.apply` about tokens that a narrower policy ends, whatever it is kept in."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.errors import Refusal, Unavailable
from chalicelib.issuers.registry import Issuer
from chalicelib.policy.accepted_values import AcceptedValues, Contains
from chalicelib.policy.compile import Policy
from chalicelib.policy.grants import Grant
from chalicelib.quota import Limit
from chalicelib.revocation import RevocationTarget
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import SIX, calls, grant, issuer, policy, put_in_force, wanted

OTHER = "https://other.example.com"
_EVERY_COPY = 40
"""Tokens that together read each of the 16 copies of an item."""
_SUB, _REF = ("sub",), ("ref",)


def _to(*claims: tuple[tuple[str, ...], AcceptedValues]) -> Grant:
    return grant()._replace(claims=claims)


WAS = _to((_SUB, ("build-1", "build-2")), (_REF, ("refs/*", "main")))
NARROWER = {
    "a value less": _to((_SUB, ("build-1",)), (_REF, ("refs/*", "main"))),
    "another value": _to((_SUB, ("build-1", "build-3")), (_REF, ("refs/*", "main"))),
    "no pattern": _to((_SUB, ("build-1", "build-2")), (_REF, ("refs/a", "main"))),
    "a claim more": WAS._replace(claims=(*WAS.claims, (("env",), ("prod",)))),
    "another type": _to((_SUB, ("build-1", "build-2")), (_REF, ("refs/*", True))),
    "another issuer": WAS._replace(issuer=OTHER),
    "a beginning": _to((_SUB, ("build-1", "build-2")), (_REF, ("refs/v*", "main"))),
    "a list with it": _to((_SUB, (Contains("build-1"), Contains("build-2"))), (_REF, ("refs/*", "main"))),
    "wider elsewhere": _to((_SUB, ("build-1",)))._replace(scope=("GET:/*", "POST:/v1/chat/completions")),
}
NOT_NARROWER = {
    "a value more": _to((_SUB, ("build-1", "build-2", "build-3")), (_REF, ("refs/*", "main"))),
    "a claim less": _to((_SUB, ("build-1", "build-2"))),
    "another order": _to((_REF, ("main", "refs/*")), (_SUB, ("build-2", "build-1"))),
    "less scope": WAS._replace(scope=("GET:/v1/models",)),
    "fewer models": WAS._replace(models=("gpt-5-mini",)),
    "fewer addresses": WAS._replace(source_ips=("198.51.100.0/24",)),
    "less quota": WAS._replace(call_limits=(Limit(1, "day"),)),
    "less time": WAS._replace(ttl=300),
    "another key": WAS._replace(key="other"),
}
_ISSUER = replace(issuer(), required=("jti",), algorithms=("ES256", "RS256"), other_audiences=("second",))
_JWKS = {"keys": [{"kid": "one"}, {"kid": "two"}]}
_BUNDLE = {"keys": [{"kid": "one", "use": "jwt-svid"}, {"use": "x509-svid", "x5c": ["old"]}], "spiffe_sequence": 1}
_NEXT_BUNDLE: dict[str, Any] = {
    "keys": [
        {"use": "x509-svid", "x5c": ["new"]},
        {"kid": "two", "use": "jwt-svid"},
        {"kid": "one", "use": "jwt-svid"},
    ],
    "spiffe_sequence": 2,
}
_SPIFFE = replace(_ISSUER, preset="spiffe", jwks=_BUNDLE)
NARROWER_ISSUERS = {
    "another audience": replace(_ISSUER, audience="other"),
    "an audience less": replace(_ISSUER, other_audiences=()),
    "another second audience": replace(_ISSUER, other_audiences=("third",)),
    "an algorithm less": replace(_ISSUER, algorithms=("ES256",)),
    "a claim required": replace(_ISSUER, required=("jti", "exp")),
    "a value refused": replace(_ISSUER, refused=(("event_name", ("issue_comment",)),)),
    "a shorter life": replace(_ISSUER, max_lifetime=60),
    "uploaded keys": replace(_ISSUER, jwks=_JWKS),
    "another identity": replace(_ISSUER, identity=_ISSUER.identity._replace(name="other")),
}
NOT_NARROWER_ISSUERS = {
    "an algorithm more": replace(_ISSUER, algorithms=("RS256", "ES256", "EdDSA")),
    "an audience more": replace(_ISSUER, audience="new", other_audiences=("second", "keybroker")),
    "audiences in another order": replace(_ISSUER, audience="second", other_audiences=("keybroker",)),
    "nothing required": replace(_ISSUER, required=()),
    "a longer life": replace(_ISSUER, max_lifetime=7200),
    "another name": replace(_ISSUER, name="other"),
    "single use": replace(_ISSUER, single_use=True),
}


def _applied(adapters: Adapters, one: Grant | None, known: Issuer | None = None) -> None:
    issuers = (known or issuer(), issuer(OTHER))
    put_in_force(adapters.control, *([one] if one else []), keys=("openai", "other"), issuers=issuers)


def _epochs(adapters: Adapters, scope: str = "grant", tokens: int = 2) -> set[int]:
    """Return the epoch as the exchange has it, and the copies that the edge reads for so many tokens."""
    found = set()
    for number in range(tokens):
        targets = {**SIX, "token": RevocationTarget("token", f"token-{number}")}
        found.add(adapters.edge_state.read_and_count(targets, calls()).states[scope].epoch)
    state = adapters.ledger.find(wanted())
    if scope == "grant":
        found |= {one.epoch for _, one in state.grants or ()}
        return found | {adapters.ledger.find(wanted(grant="ci")).states[SIX["grant"]].epoch}
    return found | {state.states[SIX[scope]].epoch}


_LISTS = _to((_SUB, (Contains("a/x*"), Contains(1))))
LISTS = {
    "another beginning": (_to((_SUB, (Contains("a/y*"), Contains(1)))), 1),
    "a longer beginning": (_to((_SUB, (Contains("a/xy*"), Contains(1)))), 1),
    "an element less": (_to((_SUB, (Contains("a/x*"),))), 1),
    "an element of another type": (_to((_SUB, (Contains("a/x*"), Contains(value=True)))), 1),
    "no list": (_to((_SUB, ("a/x*", 1))), 1),
    "any beginning": (_to((_SUB, (Contains("a/*"), Contains(1)))), 0),
    "a value as well": (_to((_SUB, (Contains("a/x*"), Contains(1), "a/x"))), 0),
    "another order of elements": (_to((_SUB, (Contains(1), Contains("a/x*")))), 0),
}


class TestGrants:
    """What a change of `to` does to the tokens of a grant."""

    @pytest.mark.parametrize("to", NARROWER.values(), ids=NARROWER)
    def test_a_narrowed_grant_is_narrow_at_once(self, adapters: Adapters, to: Grant) -> None:
        """The epoch of a grant that may admit fewer identities goes up with it, once, and no other does."""
        _applied(adapters, WAS)
        _applied(adapters, to)
        _applied(adapters, to)
        assert _epochs(adapters) == {1}
        states = adapters.edge_state.read_and_count(SIX, calls()).states
        assert {scope: one.epoch for scope, one in states.items() if one.epoch} == {"grant": 1}

    @pytest.mark.parametrize(("to", "epoch"), LISTS.values(), ids=LISTS)
    def test_lists_and_beginnings(self, adapters: Adapters, to: Grant, epoch: int) -> None:
        """Tokens end if a list contains less than before, and only then."""
        _applied(adapters, _LISTS)
        _applied(adapters, to)
        assert _epochs(adapters) == {epoch}
        state = adapters.ledger.find(wanted())
        assert repr([one.claims for one, _ in state.grants or ()]) == repr([to.claims])

    @pytest.mark.parametrize("to", NOT_NARROWER.values(), ids=NOT_NARROWER)
    def test_a_grant_that_admits_as_many_keeps_its_tokens(self, adapters: Adapters, to: Grant) -> None:
        """What a token opens is read with every call, so only the loss of a caller ends tokens."""
        _applied(adapters, WAS)
        _applied(adapters, to)
        assert _epochs(adapters) == {0}

    def test_a_removed_grant_that_comes_back_revives_no_token(self, adapters: Adapters) -> None:
        """A grant that leaves and comes back, narrower or not, has another epoch."""
        _applied(adapters, WAS)
        _applied(adapters, None)
        _applied(adapters, None)
        _applied(adapters, NARROWER["a value less"])
        assert _epochs(adapters) == {1}

    def test_a_narrowing_keeps_blocks(self, adapters: Adapters) -> None:
        """A block that is in force stays beside the new epoch."""
        _applied(adapters, WAS)
        made = samples.revocation("grant", "ci")
        adapters.control.revoke(made, samples.event("revocation.made"))
        _applied(adapters, NARROWER["a value less"])
        assert _epochs(adapters) == {2}
        assert adapters.control.revocation_state(SIX["grant"]).blocks == ((made.id, None),)
        adapters.control.restore(made.id, "restorer", samples.event("revocation.lifted"))
        assert _epochs(adapters) == {2}


class TestIssuers:
    """What a change of an issuer does to the tokens that its subjects got."""

    @pytest.mark.parametrize("to", NARROWER_ISSUERS.values(), ids=NARROWER_ISSUERS)
    def test_a_narrowed_issuer_is_narrow_at_once(self, adapters: Adapters, to: Issuer) -> None:
        """The epoch of an issuer that may no longer accept some identity token goes up with it, once."""
        _applied(adapters, WAS, _ISSUER)
        _applied(adapters, WAS, to)
        _applied(adapters, WAS, to)
        assert (_epochs(adapters, "issuer"), _epochs(adapters)) == ({1}, {0})

    @pytest.mark.parametrize("to", NOT_NARROWER_ISSUERS.values(), ids=NOT_NARROWER_ISSUERS)
    def test_an_issuer_that_accepts_as_much_keeps_its_tokens(self, adapters: Adapters, to: Issuer) -> None:
        _applied(adapters, WAS, _ISSUER)
        _applied(adapters, WAS, to)
        assert _epochs(adapters, "issuer") == {0}

    @pytest.mark.parametrize(("keys", "epoch"), [(_JWKS["keys"][:1], 1), ([*_JWKS["keys"], {"kid": "three"}], 0)])
    def test_an_uploaded_key_that_goes_ends_tokens(self, adapters: Adapters, keys: list[Any], epoch: int) -> None:
        """Removing an uploaded key ends tokens; adding one does not."""
        _applied(adapters, WAS, replace(_ISSUER, jwks=_JWKS))
        _applied(adapters, WAS, replace(_ISSUER, jwks={"keys": keys}))
        assert _epochs(adapters, "issuer") == {epoch}

    def test_the_next_file_of_a_trust_domain(self, adapters: Adapters) -> None:
        """A trust domain's next file ends tokens if a key for tokens goes, not if an X.509 authority does."""
        _applied(adapters, WAS, _SPIFFE)
        _applied(adapters, WAS, replace(_SPIFFE, jwks=_NEXT_BUNDLE))
        assert _epochs(adapters, "issuer") == {0}
        _applied(adapters, WAS, replace(_SPIFFE, jwks={"keys": _NEXT_BUNDLE["keys"][:2]}))
        assert _epochs(adapters, "issuer") == {1}

    def test_a_value_refused_from_now_on_narrows(self, adapters: Adapters) -> None:
        """A grant that stops naming a value that its issuer refuses unless named is narrower, with a claim less."""
        refusing = replace(_ISSUER, refused=(("event_name", ("issue_comment",)),))
        named = WAS._replace(claims=(*WAS.claims, (("event_name",), ("push", "issue_comment"))))
        _applied(adapters, named, refusing)
        _applied(adapters, WAS, refusing)
        assert _epochs(adapters) == {1}


class TestHalfDone:
    """An apply that is cut off, or is made twice."""

    @pytest.mark.slow
    def test_a_repeated_apply_ends_tokens_once(self, adapters: Adapters) -> None:
        """However often an apply is cut off and repeated, the epoch goes up by one."""
        _applied(adapters, WAS)
        made, version = policy(NARROWER["a value less"], keys=("openai", "other"), issuers=(issuer(), issuer(OTHER))), 1
        for steps in range(1, 40, 2):
            try:
                with adapters.cut(steps):
                    adapters.control.apply(made, "narrower", version, samples.event("policy.applied"))
            except Unavailable:
                adapters = adapters.again()
                continue
            break
        assert adapters.control.current().version == version + 1
        assert _epochs(adapters, tokens=_EVERY_COPY) == {1}

    @pytest.mark.slow
    def test_two_that_apply_the_same_end_once(self, adapters: Adapters) -> None:
        """Two who apply the same policy at the same time raise the epoch once, and in every copy alike."""
        _applied(adapters, WAS)
        made = policy(NARROWER["a value less"], keys=("openai", "other"), issuers=(issuer(), issuer(OTHER)))
        results = _both(adapters, made)
        assert 1 in results
        assert set(results) <= {1, "policy_changed", "state_unavailable", "state_inconsistent"}
        assert _epochs(adapters, tokens=_EVERY_COPY) == {1}


def _both(adapters: Adapters, made: Policy) -> list[object]:
    """Apply a policy in place of version 1 from two threads; return 1 or the reason of each refusal."""
    begin, results = threading.Barrier(2), list[object]()

    def apply() -> None:
        begin.wait(10)
        try:
            adapters.control.apply(made, "narrower", 1, samples.event("policy.applied"))
            results.append(1)
        except Refusal as refusal:
            results.append(refusal.reason)

    threads = [threading.Thread(target=apply) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
