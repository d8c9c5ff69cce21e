"""Who a caller is: an id that is never recycled, spelled so that no two subjects share one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.issuers.presets import GENERIC, PRESETS
from chalicelib.principal import AWS, SUB_LIMIT, Identity, Principal, candidates, look_up, stable_id, sub

ONE = Identity("repository_id", (("repository_id",),))
KUBERNETES = PRESETS["kubernetes"].identity
URL = "https://idp.example.com"


def pod(namespace: object, name: object, uid: object) -> dict[str, object]:
    return {"kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}}


def test_sub() -> None:
    """A `sub` is the issuer and the id; an AWS principal's is the ARN."""
    assert Principal(URL, "repository_id:1234", "octo-org/app").sub == f"{URL}|repository_id:1234"
    arn = "arn:aws:iam::123456789012:role/billing"
    assert Principal(AWS, arn, "role/billing").sub == sub(AWS, arn) == arn


def test_name_is_not_in_the_sub() -> None:
    """The name is for people to read and not part of the `sub`."""
    assert Principal(URL, "a:1", "one").sub == Principal(URL, "a:1", "two").sub


@pytest.mark.parametrize("value", [1234, True, None, "", [], ["1234"], {"a": "b"}, 1.0])
def test_an_id_is_text(value: object) -> None:
    assert stable_id(ONE, {"repository_id": value}) is None
    assert stable_id(ONE, {}) is None


def test_an_id_of_one_claim_may_hold_anything() -> None:
    for value in ("1234", "a/b", "spiffe://td/ns/x", "{2e9e429c}", "a|b", "a\nb"):
        assert stable_id(ONE, {"repository_id": value}) == f"repository_id:{value}"


def test_no_separator_within_an_id() -> None:
    """No claim of an id of several may have the separator in it."""
    assert stable_id(KUBERNETES, pod("prod", "api", "u-1")) == "kubernetes:prod/api/u-1"
    for odd in (pod("prod/api", "x", "u"), pod("prod", "a/b", "u"), pod("prod", "api", "u/1"), pod("prod", "api", "")):
        assert stable_id(KUBERNETES, odd) is None


@pytest.mark.parametrize("missing", ["namespace", "serviceaccount"])
def test_id_needs_all_claims(missing: str) -> None:
    """An id of several claims needs all of them."""
    claims = pod("prod", "api", "u-1")
    inner = dict(claims["kubernetes.io"])  # type: ignore[call-overload]  # the mapping that `pod` has made
    del inner[missing]
    assert stable_id(KUBERNETES, {"kubernetes.io": inner}) is None


def test_an_id_has_a_greatest_length() -> None:
    fits = "x" * (SUB_LIMIT - len("repository_id:"))
    assert stable_id(ONE, {"repository_id": fits}) == f"repository_id:{fits}"
    assert stable_id(ONE, {"repository_id": fits + "x"}) is None
    assert stable_id(ONE, {"repository_id": fits[:-1] + "\u00e9"}) is None, "in bytes, as keys of a state are measured"


SEGMENTS = st.text("ab/:|", max_size=4)


@given(st.lists(st.tuples(SEGMENTS, SEGMENTS, SEGMENTS), min_size=2, max_size=6, unique=True))
def test_no_two_subjects_spell_the_same_id(subjects: list[tuple[str, str, str]]) -> None:
    found = [stable_id(KUBERNETES, pod(*one)) for one in subjects]
    known = [one for one in found if one is not None]
    assert len(set(known)) == len(known)


def test_presets_have_different_ids() -> None:
    """If an issuer's preset ever changes, an earlier principal must not become another caller's."""
    names = [(one.name, one.paths) for one in {preset.identity for preset in (*PRESETS.values(), GENERIC)}]
    for (name, paths), (other, more) in itertools.combinations(names, 2):
        assert name != other or paths == more


def test_candidates() -> None:
    """Candidates are every `sub` that claims may turn out to have."""
    identities = {preset.identity for preset in PRESETS.values()}
    claims = {"repository_id": "1234", "sub": "x", "project_id": 5}
    assert candidates(URL, identities, claims) == (f"{URL}|repository_id:1234", f"{URL}|sub:x")
    assert candidates(URL, identities, {}) == ()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("a",), {"b": {"c": "x"}, "n": None}),
        (("a", "b", "c"), "x"),
        (("a", "b", "c", "d"), None),
        (("a", "x"), None),
        (("x",), None),
        (("a", "n"), None),
        (("a.b",), "dotted"),
        (("l", "0"), None),
        (("l",), ["x"]),
        (("t", "upper"), None),
    ],
)
def test_look_up(path: tuple[str, ...], found: object) -> None:
    """A nested claim is looked up by the names on the way."""
    claims = {"a": {"b": {"c": "x"}, "n": None}, "a.b": "dotted", "l": ["x"], "t": "text"}
    assert look_up(path, claims) == found
