"""The rules of `chalicelib.policy.plan.Policies`, whatever it is kept in."""

from __future__ import annotations

import pytest

from chalicelib.audit import Query
from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import StateQuery
from chalicelib.policy.plan import AppliedPolicy, StoredPolicy
from chalicelib.principal import AWS
from chalicelib.revocation import RevocationTarget
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import ISSUER, NOW, SIX, calls, grant, issuer, policy, put_in_force, wanted
from tests.every_event import every_event

TEXTS = {
    "a line": "keys: {}",
    "lines of Windows": "keys:\r\n  openai: {provider: openai}\r\n",
    "blanks at both ends": "\n\n  # a comment \t\n\n",
    "any character": "# gr\u00fc\u00dfe \u2028 \U0001f511 \\n \\x00 ' \" ; DROP TABLE policies; --\n",
    "1 MiB": "# 0123456789abcde\n" * 2**16,
}


def _apply(adapters: Adapters, expected: int, text: str = "the text", **members: object) -> StoredPolicy:
    event = samples.event("policy.applied", **members)
    return adapters.control.apply(policy(grant()), text, expected, event)


def _events(adapters: Adapters) -> int:
    return len(every_event(adapters.ledger, Query({"kind": "policy.applied"})))


class TestCurrent:
    """What is in force."""

    def test_version_0_comes_first(self, adapters: Adapters) -> None:
        """Before the first policy, version 0 without a text is in force."""
        assert adapters.control.current() == StoredPolicy(0, "", "", 0)

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    def test_the_text_reads_back_as_it_was_sent(self, adapters: Adapters, text: str) -> None:
        _apply(adapters, 0, text)
        assert adapters.control.current().text == text

    def test_a_policy_comes_with_who_put_it_in_force_and_when(self, adapters: Adapters) -> None:
        stored = _apply(adapters, 0, at=NOW + 7, actor="arn:aws:iam::123456789012:user/ada")
        assert stored == StoredPolicy(1, "the text", "arn:aws:iam::123456789012:user/ada", NOW + 7)
        assert adapters.control.current() == stored

    def test_the_last_policy_applied_is_the_one_in_force(self, adapters: Adapters) -> None:
        for version in range(12):  # more than one digit
            _apply(adapters, version, f"text {version + 1}")
        assert (adapters.control.current().version, adapters.control.current().text) == (12, "text 12")


class TestApply:
    """Compare and set."""

    def test_the_version_grows_by_one(self, adapters: Adapters) -> None:
        """The version grows by one with each policy, even one of the same text."""
        assert [_apply(adapters, expected).version for expected in range(3)] == [1, 2, 3]

    def test_a_policy_is_put_in_force_with_its_event_and_no_other(self, adapters: Adapters) -> None:
        event = samples.event("policy.applied", actor="ada", detail={"file": "keybroker.yaml"})
        adapters.control.apply(policy(grant()), "the text", 0, event)
        assert every_event(adapters.ledger, Query()) == [event]

    @pytest.mark.parametrize("expected", [0, 1, 3, 99, -1])
    def test_a_lost_race_is_a_412(self, adapters: Adapters, expected: int) -> None:
        """The apply that lost the race is refused with a 412 and both versions."""
        for version in range(2):
            _apply(adapters, version)
        with pytest.raises(Refusal) as caught:
            _apply(adapters, expected)
        refused = caught.value
        assert (refused.reason, refused.error, refused.status) == ("policy_changed", "policy_changed", 412)
        assert refused.description.startswith(f"version 2 is in force, not {expected}")

    @pytest.mark.parametrize("expected", [0, 2])
    def test_a_lost_race_changes_nothing(self, adapters: Adapters, expected: int) -> None:
        first = put_in_force(adapters.control, grant(), issuers=(issuer(), issuer("https://gone.example.com")))
        adapters.control.set_key("openai", samples.key_version("v1"), samples.event("key.set"))
        before, found = adapters.edge_state.read_and_count(SIX, calls()), adapters.ledger.find(wanted())
        other = policy(grant("other", key="new"), keys=("new",), issuers=(issuer("https://new.example.com"),))
        with pytest.raises(Refusal, match="policy_changed"):
            adapters.control.apply(other, "another text", expected, samples.event("policy.applied"))
        assert adapters.control.current() == first
        after = adapters.edge_state.read_and_count(SIX, calls())
        assert after._replace(numbers=before.numbers) == before
        assert adapters.ledger.find(wanted()) == found
        for target in (
            RevocationTarget("grant", "other"),
            RevocationTarget("key", "new"),
            RevocationTarget("issuer", "https://new.example.com"),
        ):
            assert not adapters.control.exists(target)
        assert _events(adapters) == 1

    def test_loser_of_a_race_can_win_the_next(self, adapters: Adapters) -> None:
        """The loser of a race to apply a policy can win the next one."""
        _apply(adapters, 0)
        with pytest.raises(Refusal, match="policy_changed"):
            _apply(adapters, 0, "late")
        assert _apply(adapters, adapters.control.current().version, "late").version == 2
        assert adapters.control.current().text == "late"

    @pytest.mark.parametrize("known", [(), (ISSUER,)], ids=["alone", "beside another issuer"])
    def test_aws_is_an_issuer_of_every_policy(self, adapters: Adapters, known: tuple[str, ...]) -> None:
        target = RevocationTarget("issuer", AWS)
        put_in_force(adapters.control, issuers=tuple(issuer(url) for url in known))
        assert adapters.control.exists(target)
        query = StateQuery((target,), AWS, "openai", None, NOW)
        assert adapters.ledger.find(query).issuer is None  # not an OIDC issuer: none of its tokens is ever verified


class TestVersions:
    """What was in force before."""

    def test_every_version_is_kept(self, adapters: Adapters) -> None:
        """Each version that was in force is listed, newest first, with who applied it and when, and its text is there."""
        for number in range(3):
            _apply(adapters, number, f"text {number + 1}", at=NOW + number, actor=f"ada-{number}")
        listed = adapters.control.versions(10**9)
        assert listed == tuple(AppliedPolicy(one, f"ada-{one - 1}", NOW + one - 1) for one in (3, 2, 1))
        assert adapters.control.versions(3, 1) == (listed[1],)
        assert adapters.control.versions(1) == ()
        assert adapters.control.version(2) == StoredPolicy(2, "text 2", "ada-1", NOW + 1)

    def test_what_never_was_is_none(self, adapters: Adapters) -> None:
        """Before the first policy there is no version, and none above the one in force."""
        assert (adapters.control.versions(10**9), adapters.control.version(1)) == ((), None)
        _apply(adapters, 0)
        assert (adapters.control.version(2), adapters.control.version(0)) == (None, None)

    def test_a_refused_apply_is_no_version(self, adapters: Adapters) -> None:
        """An apply that another one forestalled leaves no version."""
        _apply(adapters, 0, "first")
        with pytest.raises(Refusal, match=r"^policy_changed$"):
            _apply(adapters, 0, "second")
        assert [one.version for one in adapters.control.versions(10**9)] == [1]
        version = adapters.control.version(1)
        assert version is not None
        assert version.text == "first"

    def test_an_abandoned_text_is_no_version(self, adapters: Adapters) -> None:
        """An apply that is cut off at any step leaves a version if, and only if, it is in force."""
        _apply(adapters, 0, "first")
        for steps in range(60):
            try:
                with adapters.cut(steps):
                    _apply(adapters, 1, "second")
            except Refusal:
                pass
            in_force = adapters.control.current().version
            assert [one.version for one in adapters.control.versions(10**9)] == list(range(in_force, 0, -1))
            assert adapters.control.version(in_force + 1) is None
            if in_force == 2:
                return
        pytest.fail("it was never applied")
