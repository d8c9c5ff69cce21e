"""Checks of single values: the value, or FAULTY and a fault."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.policy.checks import check_each, check_one_of, claim_path
from chalicelib.policy.faults import FAULTY
from chalicelib.policy.reader import Faults
from chalicelib.policy.yaml_parser import parse_yaml


def faults_of(text: str) -> Faults:
    return Faults(parse_yaml(text, "k.yaml"))


def test_unknown_names() -> None:
    """A name that is not known is told with the first twenty that are; a faulty one is not told again."""
    faults = faults_of("a: 1")
    assert check_one_of("a", ["a", "b"], ("x",), faults) == "a"
    assert check_one_of(FAULTY, ["a", "b"], ("x",), faults) is FAULTY
    assert faults.noted == []
    for names in (["a", "b"], [], [f"n{number}" for number in range(10_000)]):
        assert check_one_of("c", names, ("x",), faults) is FAULTY
    assert faults.noted[0].allowed == "one of a, b"
    assert faults.noted[1].allowed == "a name that this file defines; it defines none"
    assert len(faults.noted[2].allowed) < 200


def test_check_each_element() -> None:
    """A list is good if each element is; faulty ones are passed over, and the others keep their index."""
    faults = faults_of("a: 1")
    assert check_each(["x", "y"], lambda _: None, ("a",), faults) == ("x", "y")
    assert check_each(FAULTY, lambda text: text, ("a",), faults) is FAULTY
    assert check_each(["x", FAULTY], lambda _: None, ("a",), faults) is FAULTY
    assert faults.noted == []
    assert check_each(["x", FAULTY, "y"], lambda text: f"not {text}", ("a",), faults) is FAULTY
    assert [(one.field, one.found, one.allowed) for one in faults.noted] == [
        ("a.0", "'x'", "not x"),
        ("a.2", "'y'", "not y"),
    ]


@pytest.mark.parametrize(
    ("claim", "path"),
    [
        ("sub", ("sub",)),
        ("oidc.circleci.com/project-id", ("oidc.circleci.com/project-id",)),
        ("a.b", ("a.b",)),
        ('["sub"]', ("sub",)),
        ('["a", "b/c.d"]', ("a", "b/c.d")),
        ('["a","\\u0062"]', ("a", "b")),
        ('["["]', ("[",)),
        ('a["b"]', ('a["b"]',)),
        ('["a"', None),
        ('["a"]]', None),
        ('["a"] b', None),
        ('["a", 1]', None),
        ('["a", null]', None),
        ('["a", ["b"]]', None),
        ('["a", ""]', None),
        ("[]", None),
        ("[a]", None),
        ("[", None),
        ('["\\ud800"]', None),
        ("[" * 100_000, None),
        ("[NaN]", None),
    ],
    ids=lambda one: str(one)[:20],
)
def test_claim_paths(claim: str, path: tuple[str, ...] | None) -> None:
    """A claim's key is a name, or the JSON of a list of names."""
    assert claim_path(claim) == path


@given(st.text(max_size=30) | st.text('["a,]\\ud0 ').map(lambda text: "[" + text))
@example('["a')
def test_any_claim_path(claim: str) -> None:
    """Any key is a path of text, or None."""
    path = claim_path(claim)
    assert path is None or (path and all(isinstance(name, str) for name in path))
