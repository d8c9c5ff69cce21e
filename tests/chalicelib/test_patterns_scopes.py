"""Patterns of scopes: a star is a segment of a path, and a last `/**` one or more of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.patterns import canonical, scope_covered, scope_fault, scope_matches
from tests import lenient_paths

_SEGMENTS = st.sampled_from(["*", "a", "b", "a:b", "*:b", "a:*", "*:*", "x", "a::b", ":", "a%2Fb"])
_ENDS = st.sampled_from(["", "", "/", "/**"])


def _scopes() -> st.SearchStrategy[str]:
    joined = st.lists(_SEGMENTS, min_size=1, max_size=4).map(lambda found: "GET:/" + "/".join(found))
    return st.builds(lambda path, end: path + end, joined, _ENDS).filter(lambda scope: scope_fault(scope) is None)


def _values() -> st.SearchStrategy[str]:
    segments = st.sampled_from(["a", "b", "a:b", "x:y", "x", "", "a::b", ":", "*", "**", "a%2Fb"])
    return st.lists(segments, min_size=1, max_size=5).map(lambda found: "GET:/" + "/".join(found))


@given(_scopes(), _values(), st.booleans())
def test_scopes_match_like_a_regex(scope: str, value: str, verbs: bool) -> None:  # noqa: FBT001  drawn
    """A scope matches exactly what its regular expression matches."""
    assert scope_matches(scope, value, verbs=verbs) is lenient_paths.opens([scope], "GET", value[4:], verbs=verbs)


@given(_scopes(), _scopes(), _values(), st.booleans())
def test_covered_scopes_match_no_more(narrow: str, wide: str, value: str, verbs: bool) -> None:  # noqa: FBT001  drawn
    """A covered scope opens nothing that its cover does not."""
    if scope_covered([narrow], [wide], verbs=verbs) and scope_matches(narrow, value, verbs=verbs):
        assert scope_matches(wide, value, verbs=verbs)


@pytest.mark.parametrize(
    ("narrow", "wide", "answer"),
    [
        ("GET:/a/**", "GET:/a/*", False),
        ("GET:/a/*", "GET:/a/**", True),
        ("GET:/a/b/**", "GET:/a/**", True),
        ("GET:/a/**", "GET:/a/**", True),
        ("GET:/a/**", "GET:/a/*/**", False),
        ("GET:/a/*/**", "GET:/a/**", True),
        ("GET:/a", "GET:/a/**", False),
        ("GET:/a/b:run", "GET:/a/**", True),
        ("GET:/a/b:run", "GET:/a/*", False),
        ("POST:/a/b", "GET:/a/**", False),
        ("GET:/a/x%3Ay", "GET:/a/x:y", True),
    ],
)
def test_covered_scopes(narrow: str, wide: str, answer: bool) -> None:  # noqa: FBT001  a parameter of the table
    """What a scope covers, and what it does not."""
    assert scope_covered([narrow], [wide]) is answer


@pytest.mark.parametrize(
    ("scope", "value"),
    [
        ("POST:/v1/projects/*", "POST:/v1/projects/x:setIamPolicy"),
        ("POST:/v1/projects/*/", "POST:/v1/projects/x:setIamPolicy/"),
        ("POST:/v1/models/*:run", "POST:/v1/models/x:run:stop"),
        ("POST:/v1/models/*:run", "POST:/v1/models/:run"),
    ],
)
def test_a_star_opens_no_verb(scope: str, value: str) -> None:
    """Where an API has verbs, a star at the end does not open them."""
    assert not scope_matches(scope, value)


@pytest.mark.parametrize(
    "value", ["GET:/v1", "GET:/v1/", "GET:/v1//a", "GET:/v1/a//b", "GET:/v1:a", "GET:/v2/a", "POST:/v1/a"]
)
def test_two_stars_need_a_segment(value: str) -> None:
    """A last `/**` is one or more whole segments below, and nothing else."""
    assert not scope_matches("GET:/v1/**", value)


@pytest.mark.parametrize("value", ["GET:/v1/a", "GET:/v1/a/b/c", "GET:/v1/a:b", "GET:/v1/a/b/"])
def test_two_stars_open_all_below(value: str) -> None:
    """A last `/**` opens any depth, with verbs, and with a slash at the end."""
    assert scope_matches("GET:/v1/**", value)


@pytest.mark.parametrize(
    ("scope", "fault"),
    [
        ("GET:/v1/**", None),
        ("GET:/**", None),
        ("GET:/v1/*/**", None),
        ("GET:/v1/**/x", "`/**` at the end only"),
        ("GET:/v1/**/", "`/**` at the end only"),
        ("GET:/v1/**/**", "`/**` at the end only"),
        ("GET:/v1/x**", "`*` must be a whole segment between `/` or `:`"),
        ("GET:/v1/***", "`*` must be a whole segment between `/` or `:`"),
        ("GET:/v1/x:**", "`*` must be a whole segment between `/` or `:`"),
        ("GET:/v1/mod*/**", "`*` must be a whole segment between `/` or `:`"),
    ],
)
def test_two_stars_elsewhere(scope: str, fault: str | None) -> None:
    """Two stars are a fault but as a whole segment at the end."""
    assert scope_fault(scope) == fault


def test_canonical_form() -> None:
    """What needs no encoding is itself in the canonical form; separators, spaces and other text stay encoded."""
    assert canonical("/kind%3A%20bug%2Fx%40y%2B%2C%3D%26%24%21%27%28%29%2A") == "/kind:%20bug%2Fx@y+,=&$!'()*"
    assert canonical("/%C3%A9%25%3B%5C%3F%23%2E") == "/%C3%A9%25%3B%5C%3F%23%2E"
