"""The pattern form, beside a second formulation that is obviously right: a regular expression per segment."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from chalicelib.patterns import claim_fault, claim_matches, fault, matches, model_fault, model_matches, scope_covered

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
    assert scope_covered(wanted, patterns) is answer


def test_covered_takes_generators() -> None:
    """Both arguments may be generators."""
    assert scope_covered((one for one in ("GET:/a", "GET:/b")), (one for one in ("GET:/b", "GET:/a")))


# Claims


def obviously_claimed(pattern: str, value: str) -> bool:
    """`*` is a whole segment, and at the end of the last one it is the rest of that."""
    *head, last = re.split("([/:])", pattern)
    form = "".join("[^/:]+" if piece == "*" else re.escape(piece) for piece in head)
    form += f"{re.escape(last[:-1])}[^/:]+" if re.fullmatch(r"[^*]*\*", last) else re.escape(last)
    return re.fullmatch(form, value) is not None


@given(texts() | texts().map(lambda text: text + "*"), texts())
@example("refs/tags/v*", "refs/tags/v")
@example("refs/tags/v*", "refs/tags/v1/x")
@example("a/v*/c*", "a/v1/c1")
@example("a/**", "a/*b")
def test_claims_match_like_a_regex(pattern: str, value: str) -> None:
    """A claim's pattern matches exactly what its regular expression matches."""
    assert claim_matches(pattern, value) is obviously_claimed(pattern, value)


@given(texts().map(lambda text: text + "*"), texts())
def test_a_beginning_never_crosses_a_separator(pattern: str, value: str) -> None:
    """What a `*` at the end stands for is of the last segment, and never empty."""
    if claim_matches(pattern, value) and "*" not in pattern[:-1]:
        assert value.startswith(pattern[:-1])
        assert value != pattern[:-1]
        assert not set(value[len(pattern) - 1 :]) & set("/:")


@given(texts(), st.data())
def test_a_value_made_from_a_beginning_matches_it(text: str, data: st.DataObject) -> None:
    """Whatever goes on in the same segment is matched."""
    rest = st.text(min_size=1, max_size=4).filter(lambda one: not set(one) & set("/:*"))
    assert claim_matches(f"a/{text.replace('*', 'x')}*", f"a/{text.replace('*', 'x')}{data.draw(rest)}")


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("refs/tags/v*", "refs/tags/v"),
        ("refs/tags/v*", "refs/tags/v/"),
        ("refs/tags/v*", "refs/tags/v/1"),
        ("refs/tags/v*", "refs/tags/v1/"),
        ("refs/tags/v*", "refs/tags/v1/evil"),
        ("refs/tags/v*", "refs/tags/v1:evil"),
        ("refs/tags/v*", "refs/tags/V1"),
        ("refs/tags/v*", "refs/tags/\u03bd1"),
        ("refs/tags/v*", "refs/tags/ v1"),
        ("refs/tags/v*", "refs/tags/1v1"),
        ("refs/tags/v*", "refs/heads/v1"),
        ("refs/tags/v*", "evil/refs/tags/v1"),
        ("refs/tags/v*", "refs/tags/x/v1"),
        ("refs/tags/v*", "refs/tags"),
        ("refs/tags/v*", ""),
        ("refs/tags/é*", "refs/tags/e\u0301x"),
        ("o/r/deploy.yml@*", "o/r/deploy.yml@"),
        ("o/r/deploy.yml@*", "o/r/deploy.yml"),
        ("o/r/deploy.yml@*", "o/r/deploy.yml@refs/heads/main"),
        ("o/r/deploy.yml@*", "o/r/deployXyml@abc"),
        ("o/r/deploy.yml@*", "o/r/evil/deploy.yml@abc"),
        ("o/r/deploy.yml@*", "mallory/r/deploy.yml@abc"),
        ("repo:o/r:ref:refs/heads/r*", "repo:o/r:ref:refs/heads/r:x"),
        ("repo:o/r:ref:refs/heads/r*", "repo:o/r:ref/refs:heads/r1"),
        ("repo:o/r:v*", "repo:o/r/v1"),
    ],
)
def test_lookalike_beginnings(pattern: str, value: str) -> None:
    """A value that only looks as if it began alike is another one."""
    assert claim_fault(pattern) is None
    assert not claim_matches(pattern, value)


@pytest.mark.parametrize(
    "rest", ["1", "1.2.3", "-rc.1", "*", "@", " ", "\n", "..", "%2fx", "\u2215x", "\u0301", "x" * 9_999]
)
def test_a_beginning_goes_on_with_anything(rest: str) -> None:
    """A star at the end stands for any characters but separators."""
    assert claim_matches("refs/tags/v*", f"refs/tags/v{rest}")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "empty"),
        ("*", "a pattern must start with a literal segment"),
        ("v*", "a pattern must start with a literal segment"),
        ("1234*", "a pattern must start with a literal segment"),
        (":v*", "a pattern must start with a literal segment"),
        ("/v*", "a pattern must start with a literal segment"),
        ("*/v*", "a pattern must start with a literal segment"),
        ("v*/a", "`*` must be a whole segment between `/` or `:`, or end the last one"),
        ("a/v*/b", "`*` must be a whole segment between `/` or `:`, or end the last one"),
        ("a/v*/b*", "`*` must be a whole segment between `/` or `:`, or end the last one"),
        ("a/*v", "`*` must be a whole segment between `/` or `:`, or end the last one"),
        ("a/v*w", "`*` must be a whole segment between `/` or `:`, or end the last one"),
        ("a/**", "`*` must be a whole segment between `/` or `:`, or end the last one"),
        ("a/v**", "`*` must be a whole segment between `/` or `:`, or end the last one"),
        ("a/*v*", "`*` must be a whole segment between `/` or `:`, or end the last one"),
        (r"a/v\*", None),
        ("a/v*", None),
        ("a:v*", None),
        ("a/*/v*", None),
        ("a/*", None),
        ("o/r/.github/workflows/deploy.yml@*", None),
    ],
)
def test_claims_with_misplaced_stars(pattern: str, why: str | None) -> None:
    """In a claim a star may end the last segment, behind a first one that is literal; nothing escapes it."""
    assert claim_fault(pattern) == why


@given(st.text(min_size=1, max_size=6).filter(lambda text: not set(text) & set("/:*")))
def test_ids_have_no_pattern(text: str) -> None:
    """A text without separators, such as an id or an owner's name, has no pattern: `12*` would be a million ids."""
    assert claim_fault(f"{text}*") == "a pattern must start with a literal segment"


@given(texts(), texts(), texts())
@example("a/v1*", "a/v*", "a/v12")
@example("a/v*", "a/*", "a/v")
@example("a/*", "a/v*", "a/w")
def test_covered_beginnings(narrow: str, wide: str, value: str) -> None:
    """A pattern that another one matches, read as a value, matches nothing that the other does not."""
    if claim_fault(narrow) is None and claim_fault(wide) is None and claim_matches(wide, narrow):
        assert claim_matches(wide, value) or not claim_matches(narrow, value)


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
