"""The pattern form, beside a second formulation that is obviously right: a regular expression per segment."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from chalicelib.patterns import covered, fault, matches, model_fault, model_matches

PARTS = [
    "",
    "a",
    "A",
    "b",
    "ab",
    "é",
    "e\u0301",
    "*",
    "**",
    ".",
    "..",
    ".*",
    "[a]",
    "\\",
    "$",
    "a\n",
    "\n",
    " ",
    "\u2215",
]
"""Segments that differ by case, composition, white space, or what another pattern language would read into them."""


def texts() -> st.SearchStrategy[str]:
    """Draw segments between separators, and now and then any text at all."""
    segments = st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from("/:")), min_size=1, max_size=5)
    joined = segments.map(lambda pairs: "".join(part + separator for part, separator in pairs))
    return joined | joined.map(lambda text: text[:-1]) | st.text(max_size=8)


def expected(pattern: str, value: str) -> bool:
    """Say the same with a regular expression: `*` is `[^/:]+` where it is a whole segment, all else is itself."""
    pieces = re.split("([/:])", pattern)
    form = "".join("[^/:]+" if piece == "*" else re.escape(piece) for piece in pieces)
    return re.fullmatch(form, value) is not None


@given(texts(), texts())
def test_patterns_match_like_a_regex(pattern: str, value: str) -> None:
    """A pattern matches exactly what its regular expression matches."""
    assert matches(pattern, value) is expected(pattern, value)


@given(texts(), st.data())
def test_a_value_made_from_a_pattern_matches_it(pattern: str, data: st.DataObject) -> None:
    filler = st.text(min_size=1, max_size=4).filter(lambda text: not set(text) & set("/:"))
    value = "".join(data.draw(filler) if piece == "*" else piece for piece in re.split("([/:])", pattern))
    assert matches(pattern, value)


@given(texts().filter(lambda text: "*" not in text), texts())
@example("a", "a\n")
@example("a", "A")
@example("a/", "a")
@example("é", "e\u0301")
@example("straße", "strasse")
def test_patterns_without_a_star(pattern: str, value: str) -> None:
    """Without a star only the very same text matches."""
    assert matches(pattern, value) is (pattern == value)


@given(texts(), texts())
@example("repo:org/*", "repo:org/app/evil")
@example("repo:*/app", "repo:org/evil/app")
@example("GET:/v1/models/*", "GET:/v1/models/a:b")
@example("GET:/v1/models/*", "GET:/v1/models/../files")
@example("a/*/c", "a//c")
def test_no_star_crosses_a_separator(pattern: str, value: str) -> None:
    separators = re.sub("[^/:]", "", pattern)
    if matches(pattern, value):
        assert re.sub("[^/:]", "", value) == separators


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("refs/tags/*", "refs/tags/"),
        ("refs/tags/*", "refs/tags"),
        ("refs/tags/*", "refs/tags/v1/"),
        ("refs/tags/*", "refs/tags/v1/x"),
        ("refs/tags/*", "refs/tags/v1:x"),
        ("refs/tags/*", "/refs/tags/v1"),
        ("refs/tags/*", "REFS/tags/v1"),
        ("refs/tags/*", "refs/tags\n/v1"),
        ("refs/tags/*", "refs:tags/v1"),
        ("refs/tags/*", "refs/tag/v1"),
        ("refs/tags/*", "evil\nrefs/tags/v1"),
        ("refs/tags/*", ""),
        ("repo:*", "repo/org"),
        ("repo:*:x", "repo::x"),
        ("refs/heads/main", "refs/heads/main\n"),
        ("refs/heads/main", "refs/heads/*"),
        ("a.c", "abc"),
        ("[ab]", "a"),
        ("a?", "ab"),
        ("", "a"),
    ],
)
def test_what_is_only_alike_does_not_match(pattern: str, value: str) -> None:
    assert not matches(pattern, value)


@pytest.mark.parametrize("tag", ["v1", "*", "v1\n", "\n", " ", "..", "é", "%2f", "\u2215", "\\", "\0", "x" * 10_000])
def test_star_is_any_segment(tag: str) -> None:
    """A star stands for any one segment."""
    assert matches("refs/tags/*", f"refs/tags/{tag}")


@given(texts())
def test_a_pattern_matches_itself(text: str) -> None:
    assert matches(text, text)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "empty"),
        ("*", "a pattern must start with a literal segment"),
        ("*/a", "a pattern must start with a literal segment"),
        ("/*", "a pattern must start with a literal segment"),
        (":*", "a pattern must start with a literal segment"),
        ("a*", "`*` must be a whole segment between `/` or `:`"),
        ("a/*b", "`*` must be a whole segment between `/` or `:`"),
        ("a/b*/c", "`*` must be a whole segment between `/` or `:`"),
        ("a/**", "`*` must be a whole segment between `/` or `:`"),
        ("gpt-5-*", "`*` must be a whole segment between `/` or `:`"),
        ("a", None),
        ("a/*", None),
        ("a:*", None),
        ("a/*/*", None),
        ("GET:/v1/models/*", None),
        ("/v1/models", None),
        ("refs/heads/main", None),
    ],
)
def test_misplaced_stars(pattern: str, why: str | None) -> None:
    """A star that is not a whole segment, or that no literal segment precedes, is a fault."""
    assert fault(pattern) == why


@given(texts(), texts())
def test_first_segment_is_literal(pattern: str, value: str) -> None:
    """A valid pattern has the first segment of whatever it matches."""
    if fault(pattern) is None and matches(pattern, value):
        assert re.split("[/:]", pattern)[0] == re.split("[/:]", value)[0]


@given(st.lists(texts(), max_size=3), st.lists(texts(), max_size=3))
def test_covered_is_each_by_some(wanted: list[str], patterns: list[str]) -> None:
    """Covered means that each one is matched by some pattern."""
    assert covered(wanted, patterns) is all(any(expected(one, each) for one in patterns) for each in wanted)


@given(texts(), texts(), texts())
def test_covered_patterns(narrow: str, wide: str, value: str) -> None:
    """A covered pattern matches nothing that its cover does not."""
    if covered([narrow], [wide]) and matches(narrow, value):
        assert matches(wide, value)


@pytest.mark.parametrize(
    ("wanted", "patterns", "answer"),
    [
        (["GET:/v1/models/a"], ["GET:/v1/models/*"], True),
        (["GET:/v1/models/*"], ["GET:/v1/models/*"], True),
        (["GET:/v1/models/a", "POST:/v1/responses"], ["GET:/v1/models/*"], False),
        (["GET:/v1/models/*"], ["GET:/v1/models/a"], False),
        (["GET:/v1/*/*"], ["GET:/v1/models/*"], False),
        (["GET:/v1/models"], [], False),
        ([], [], True),
        ([], ["GET:/v1/models"], True),
    ],
)
def test_covered_narrows_and_never_widens(wanted: list[str], patterns: list[str], answer: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert covered(wanted, patterns) is answer


def test_covered_takes_generators() -> None:
    """Both arguments may be generators."""
    assert covered((one for one in ("a", "b")), (one for one in ("b", "a")))


# Models


def obviously_matches(pattern: str, model: str) -> bool:
    """`*` is a whole segment; a last `-*` is any ending of the last one."""
    pieces = re.split("([/:])", pattern)
    forms = ["[^/:]+" if piece == "*" else re.escape(piece) for piece in pieces]
    if pieces[-1].endswith("-*"):
        forms[-1] = re.escape(pieces[-1][:-1]) + "[^/:]+"
    return re.fullmatch("".join(forms), model) is not None


MODEL_PARTS = st.lists(st.sampled_from(["gpt", "gpt-5", "-", "/", ":", "*", "-*", "5", "\n", "a"]), max_size=5).map(
    "".join
)


@settings(max_examples=200)
@given(MODEL_PARTS, MODEL_PARTS)
@example("gpt-*", "gpt-")
@example("gpt-*", "gpt-5/x")
@example("gpt-*", "gpt-5\n")
@example("models/*", "models/a-b")
def test_models_match_like_a_regex(pattern: str, model: str) -> None:
    """A model pattern matches exactly what its regular expression matches."""
    assume(model_fault(pattern) is None)
    assert model_matches(pattern, model) is obviously_matches(pattern, model)


@pytest.mark.parametrize(
    ("pattern", "model"),
    [
        ("gpt-5-*", "gpt-5-"),
        ("gpt-5-*", "gpt-5"),
        ("gpt-5-*", "GPT-5-mini"),
        ("gpt-5-*", "gpt-5-mini/x"),
        ("gpt-5-*", "ft:gpt-5-mini"),
        ("gpt-5-*", "x/gpt-5-mini"),
        ("gpt-5-*", "gpt-55-mini"),
        ("ft:gpt-5:acme:*", "ft:gpt-5:evil:x"),
        ("models/gemini-*", "models/x/gemini-3"),
        ("gpt-5", "gpt-5-mini"),
        ("gpt-5", "gpt-5\n"),
    ],
)
def test_lookalike_models(pattern: str, model: str) -> None:
    """A model whose name is only similar is another one."""
    assert not model_matches(pattern, model)
