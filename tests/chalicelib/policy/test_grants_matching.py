"""Claims and grants: by vectors, and beside a second formulation that is obviously right.

Each entry of `vectors/matching.json` has `grants` (name -> the `claims` of a policy file), `claims` (verified),
`refused` (as a preset's) and either `grant`, the one that admits, or `reason` with the claims that `differs`.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.patterns import claim_fault, model_matches
from chalicelib.policy import grants
from chalicelib.policy.accepted_values import AcceptedValue, AcceptedValues, Contains, Value
from chalicelib.policy.checks import claim_path
from chalicelib.policy.coverage import covers
from chalicelib.policy.grants import Grant, differences
from chalicelib.principal import RefusedValues
from tests.forge import vectors

MATCHING = vectors("matching.json")
Claims = tuple[tuple[tuple[str, ...], AcceptedValues], ...]


def grant(claims: Claims, name: str = "g", **more: Any) -> Grant:  # noqa: ANN401  Grant's fields
    fields = {"scope": ("GET:/v1/models",), "ttl": 900, "token_limits": (), "call_limits": (), **more}
    return Grant(name=name, key="openai", issuer="https://idp.example.com", claims=claims, **fields)


def written(claims: Mapping[str, Any]) -> Claims:
    """Read `claims` as a policy file has them."""
    found = []
    for name, value in claims.items():
        path = claim_path(name)
        assert path is not None
        found.append((path, tuple(accepted(value))))
    return tuple(found)


def accepted(value: Any) -> list[AcceptedValue]:  # noqa: ANN401  JSON
    if isinstance(value, list):
        return [one for each in value for one in accepted(each)]
    return [Contains(one) for one in accepted(value["contains"])] if isinstance(value, dict) else [value]  # type: ignore[arg-type]  # never nested


def admits(one: Grant, claims: Mapping[str, object], refused: RefusedValues = ()) -> bool:
    return differences(one, claims, refused) == ()


@pytest.mark.parametrize("entry", MATCHING, ids=lambda entry: entry["name"])
def test_matching_vectors(entry: Mapping[str, Any]) -> None:
    """Claims get the grant, or the reason, that the vector states."""
    candidates = [grant(written(claims), name) for name, claims in entry["grants"].items()]
    refused = tuple((claim, tuple(values)) for claim, values in entry.get("refused", ()))
    if "grant" in entry:
        assert grants.choose(candidates, entry["claims"], refused, "openai").name == entry["grant"]
        return
    with pytest.raises(Refusal) as caught:
        grants.choose(candidates, entry["claims"], refused, "openai")
    assert caught.value.reason == entry["reason"]
    unmet = [differences(one, entry["claims"], refused) for one in candidates]
    if "differs" in entry:
        assert [".".join(one.claim) for one in min(unmet, key=len, default=())] == entry["differs"]


# The second formulation: values are the same if their JSON is, and a pattern is a regular expression.


def same(wanted: object, found: object) -> bool:
    if isinstance(wanted, Contains):
        return isinstance(found, list) and any(same(wanted.value, one) for one in found)
    if isinstance(wanted, str) and "*" in wanted:
        *head, last = re.split("([/:])", wanted)
        form = "".join("[^/:]+" if piece == "*" else re.escape(piece) for piece in head)
        form += f"{re.escape(last[:-1])}[^/:]+" if last.endswith("*") else re.escape(last)
        return isinstance(found, str) and re.fullmatch(form, found) is not None
    return json.dumps(wanted) == json.dumps(found)


MISSING = object()


def at(claims: object, path: Sequence[str]) -> object:
    if not path:
        return claims
    return at(claims[path[0]], path[1:]) if isinstance(claims, dict) and path[0] in claims else MISSING


def obviously_admits(one: Grant, claims: Mapping[str, object], refused: RefusedValues) -> bool:
    found = [(wanted, at(claims, path)) for path, wanted in one.claims]
    if not found or any(value is MISSING for _, value in found):
        return False
    if not all(any(same(each, value) for each in wanted) for wanted, value in found):
        return False
    listed = {
        path[0]: [(isinstance(each, Contains), json.dumps(plain(each))) for each in wanted]
        for path, wanted in one.claims
        if len(path) == 1
    }
    bad = [(claim, json.dumps(value)) for claim, values in refused for value in values]
    return not any(
        claim in claims
        and value in map(json.dumps, flat(claims[claim]))
        and (isinstance(claims[claim], list), value) not in listed.get(claim, ())
        for claim, value in bad
    )


def plain(one: AcceptedValue) -> Value:
    return one.value if isinstance(one, Contains) else one


def flat(found: object) -> list[object]:
    return [one for each in found for one in flat(each)] if isinstance(found, list) else [found]


TEXTS = [
    "a",
    "b",
    "A",
    "a/b",
    "a/c",
    "a:b",
    "a/b/c",
    "a/",
    "a\n",
    "é",
    "e\u0301",
    "true",
    "1",
    "1.0",
    "null",
    "a/bc",
    "a:v1",
    "",
    "*",
]
PATTERNS = ["a/*", "a:*", "a/*/c", "a/*/*", "b/*", "a/b*", "a:v*", "a/*/c*"]
PATHS = [("x",), ("y",), ("n", "x"), ("n", "y"), ("n",), ("event",)]
REFUSED: RefusedValues = (("event", ("a", "b", True)),)

values = st.sampled_from([*TEXTS, True, False, 1, 0, -1])
elements = st.lists(values | st.sampled_from([1.0, None, ["a"], {"a": "a"}]), max_size=3)
found_values = values | st.sampled_from([1.0, 0.0, None, [], ["a"], {}]) | elements
plain_values = values | st.sampled_from(PATTERNS)
wanted_values = st.lists(plain_values | st.builds(Contains, plain_values), min_size=1, max_size=3).map(tuple)
grant_claims = st.lists(
    st.tuples(st.sampled_from(PATHS), wanted_values), max_size=3, unique_by=lambda claim: claim[0]
).map(tuple)
claim_sets = st.fixed_dictionaries(
    {},
    optional={
        "x": found_values,
        "y": found_values,
        "event": found_values,
        "n": found_values | st.fixed_dictionaries({}, optional={"x": found_values, "y": found_values}),
    },
)
refusals = st.sampled_from([(), REFUSED])


@given(grant_claims, claim_sets, refusals)
@example(((("x",), (1,)),), {"x": True}, ())
@example(((("x",), (True,)),), {"x": 1}, ())
@example(((("x",), (1,)),), {"x": 1.0}, ())
@example(((("event",), (1,)),), {"event": True}, REFUSED)
@example(((("event",), (Contains("a"),)),), {"event": "a"}, REFUSED)
@example(((("event",), (Contains("z"),)),), {"event": ["z", "a"]}, REFUSED)
@example(((("x",), (1,)),), {"x": 1, "event": [["a"]]}, REFUSED)
@example(((("x",), (Contains(1),)),), {"x": [True, 1.0, "1"]}, ())
@example(((("x",), (Contains("a"),)),), {"x": [["a"]]}, ())
@example(((("x",), (Contains("a"),)),), {"x": "a"}, ())
@example(((("x",), (Contains("a"),)),), {"x": {"a": 1}}, ())
@example(((("x",), ("a",)),), {"x": ["a"]}, ())
@example(((("x",), ("a/b*",)),), {"x": "a/b"}, ())
def test_admits_what_is_obvious(wanted: Claims, claims: Mapping[str, object], refused: RefusedValues) -> None:
    """A grant admits exactly what a simpler, slower rule admits."""
    assert admits(grant(wanted), claims, refused) is obviously_admits(grant(wanted), claims, refused)


def test_types_are_never_coerced() -> None:
    written_values = [True, "true", 1, "1", 1.0, "1.0", False, 0, "0", None, "null", [], "[]", {}]
    for wanted in (one for one in written_values if isinstance(one, (str, int, bool))):
        for value in written_values:
            alike = type(wanted) is type(value) and wanted == value
            assert admits(grant(((("x",), (wanted,)),)), {"x": value}) is alike, (wanted, value)


@given(grant_claims, claim_sets, refusals)
def test_a_claim_that_is_missing_never_matches(
    wanted: Claims, claims: dict[str, object], refused: RefusedValues
) -> None:
    for path, _ in wanted:
        left = {name: value for name, value in claims.items() if name != path[0]}
        assert path in {one.claim for one in differences(grant(wanted), left, refused)}


@given(claim_sets, refusals)
def test_a_grant_without_claims_admits_nobody(claims: Mapping[str, object], refused: RefusedValues) -> None:
    assert not admits(grant(()), claims, refused)


@given(grant_claims, st.tuples(st.sampled_from(PATHS), wanted_values), claim_sets, refusals)
def test_one_claim_more_never_admits_more(
    wanted: Claims, more: tuple[tuple[str, ...], AcceptedValues], claims: Mapping[str, object], refused: RefusedValues
) -> None:
    assume(wanted and more[0] not in dict(wanted))
    # But for listing what is refused unless it is listed: that is the one claim that can open something.
    assume(not refused or more[0] != ("event",))
    if admits(grant((*wanted, more)), claims, refused):
        assert admits(grant(wanted), claims, refused)


@given(grant_claims, claim_sets, refusals)
def test_one_value_less_never_admits_more(wanted: Claims, claims: Mapping[str, object], refused: RefusedValues) -> None:
    for place, (path, listed) in enumerate(wanted):
        for index in range(len(listed)):
            less = (*wanted[:place], (path, listed[:index] + listed[index + 1 :]), *wanted[place + 1 :])
            if admits(grant(less), claims, refused):
                assert admits(grant(wanted), claims, refused)


@given(grant_claims, claim_sets, st.sampled_from(["z", "sub", "admin"]), found_values)
def test_what_a_grant_does_not_name_does_not_matter(
    wanted: Claims, claims: dict[str, object], name: str, value: object
) -> None:
    assert admits(grant(wanted), claims) is admits(grant(wanted), {**claims, name: value})


@given(st.sampled_from(TEXTS + PATTERNS), st.text("ab/:*\n é", max_size=8))
@example("a/*", "a/b/c")
@example("a:*", "a:b:c")
@example("a/*", "a/:")
def test_patterns_keep_to_segments(pattern: str, value: str) -> None:
    """No pattern matches across a separator."""
    if admits(grant(((("x",), (pattern,)),)), {"x": value}):
        assert re.sub("[^/:]", "", pattern) == re.sub("[^/:]", "", value)
        assert value != "" or pattern == ""


TRICKS: list[Callable[[str], str]] = [
    *(str.upper, str.lower, str.title, str.swapcase, str.casefold, str.strip),
    *(lambda text: text + "/", lambda text: "/" + text, lambda text: text + "\n", lambda text: "\n" + text),
    *(lambda text: text + "\0", lambda text: text + " ", lambda text: text + "\u200b", lambda text: "\ufeff" + text),
    *(lambda text: text.replace("/", "\u2215"), lambda text: text.replace("/", "//"), lambda text: text.rstrip("/")),
    *(lambda text: text.replace(":", "%3A"), lambda text: text + "\n" + text, lambda text: text * 2),
    *(lambda text: unicodedata.normalize("NFC", text), lambda text: unicodedata.normalize("NFD", text)),
    *(lambda text: unicodedata.normalize("NFKC", text), lambda text: unicodedata.normalize("NFKD", text)),
]


@given(st.text(min_size=1, max_size=8) | st.sampled_from(TEXTS[:-2]), st.sampled_from(range(len(TRICKS))))
def test_lookalike_values(text: str, trick: int) -> None:
    """Case, Unicode forms, blanks and slashes make another value."""
    assume("*" not in text)
    other = TRICKS[trick](text)
    assert admits(grant(((("x",), (text,)),)), {"x": other}) is (text == other)


@given(st.sampled_from([one for one in PATTERNS if not claim_fault(one)]), st.sampled_from(range(len(TRICKS))))
def test_lookalike_literals(pattern: str, trick: int) -> None:
    """A pattern's literal part cannot be imitated."""
    other = TRICKS[trick](pattern.replace("*", "z"))
    first, _, rest = pattern.partition("*")
    if admits(grant(((("x",), (pattern,)),)), {"x": other}):
        assert other.startswith(first)
        assert "*" in rest or other.endswith(rest)


# What covers what


NETWORKS = ["198.51.100.0/24", "198.51.100.0/25", "198.51.0.0/16", "2001:db8::/32", "2001:db8:1::/48"]
MODELS = ["gpt-5-mini", "gpt-5", "gpt-5-*", "gpt-*", "models/*", "models/gemini-*", "models/gemini-3"]
SCOPES = ["GET:/v1/models", "GET:/v1/models/*", "GET:/v1/models/a", "POST:/v1/*", "POST:/v1/responses"]
some = st.none() | st.lists(st.sampled_from(MODELS), min_size=1, max_size=2, unique=True).map(tuple)
networks = st.none() | st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=2, unique=True).map(tuple)
scopes = st.lists(st.sampled_from(SCOPES), min_size=1, max_size=2, unique=True).map(tuple)
FEW_PLAIN: list[Value] = ["a", "a/b", "a/*", "a/*/c", "a/b/c", "a/*/*", True, 1, "a/b*", "a/bc*", "a/*/c*"]
FEW: list[AcceptedValue] = [*FEW_PLAIN, *map(Contains, FEW_PLAIN)]
few_values: st.SearchStrategy[AcceptedValues] = st.lists(st.sampled_from(FEW), min_size=1, max_size=2).map(tuple)
few_claims: st.SearchStrategy[Claims] = st.lists(
    st.tuples(st.sampled_from([("x",), ("event",), ("n", "x")]), few_values), max_size=2, unique_by=lambda one: one[0]
).map(tuple)


def covering(data: st.DataObject) -> tuple[Grant, Grant, RefusedValues]:
    """Draw two grants, the second made of the first's claims so that the first often covers it."""
    refused = data.draw(refusals)
    claims = data.draw(few_claims)
    more: dict[tuple[str, ...], AcceptedValues] = dict(data.draw(few_claims))
    if data.draw(st.booleans()):
        more.update(claims)
    rest = {"scope": scopes, "models": some, "source_ips": networks}
    wide, narrow = ({name: data.draw(one) for name, one in rest.items()} for _ in range(2))
    if data.draw(st.booleans()):
        narrow = wide
    return grant(claims, "wide", **wide), grant(tuple(more.items()), "narrow", **narrow), refused


CALLERS = st.fixed_dictionaries(
    {},
    optional={
        "x": st.sampled_from(["a", "a/b", "a/b/c", "a/d/c", True, 1, 1.0, "a/bc", "a/bcd", "a/d/cd"])
        | st.lists(st.sampled_from(["a", "a/b", "a/bc", "a/bcd", "z", True, 1]), max_size=2),
        "event": st.sampled_from(["a", "b", "a/b", True, 1, ["a"], ["a", "z"], ["z"], [True, "a/b"], ["a", "a/b"]]),
        "n": st.fixed_dictionaries({"x": st.sampled_from(["a", "a/b", "a/b/c"])}),
    },
)


@given(st.data(), st.lists(CALLERS, min_size=5, max_size=10))
def test_cover_admits_all(data: st.DataObject, callers: list[Mapping[str, object]]) -> None:
    """A grant that covers another one admits every caller whom that one admits."""
    wide, narrow, refused = covering(data)
    if covers(wide, narrow, refused):
        for claims in callers:
            assert admits(wide, claims, refused) or not admits(narrow, claims, refused)


def some_of(values: Sequence[AcceptedValue]) -> list[AcceptedValues | None]:
    """Return no list, each list of one value, and each of two."""
    return [None, *((one,) for one in values), *itertools.combinations(values, 2)]


@pytest.mark.parametrize("refused", [(), (("event", ("a", True)),)], ids=["nothing refused", "events refused"])
def test_all_small_covers(refused: RefusedValues) -> None:
    """Of all small grants, none is covered by one that admits less."""
    texts: list[AcceptedValue] = ["a/b", "a/*", "a/b*", True, 1, Contains("a/b*"), Contains("a/*")]
    drawn = itertools.product(some_of(texts), some_of(["a", True, 1]))
    claims: list[Claims] = [
        tuple((path, one) for path, one in zip((("x",), ("event",)), pair, strict=True) if one) for pair in drawn
    ]
    callers = [
        {name: value for name, value in {"x": x, "event": event}.items() if value is not None}
        for x in ("a", "a/b", "a/c", "a/bc", True, 1, None, ["a/c"], ["a/bc", 1])
        for event in ("a", "c", True, 1, None)
    ]
    small = [grant(one) for one in claims if one]
    admitted = [{index for index, one in enumerate(callers) if admits(each, one, refused)} for each in small]
    covered = [
        (wide, narrow)
        for wide, narrow in itertools.product(range(len(small)), repeat=2)
        if covers(small[wide], small[narrow], refused)
    ]
    assert [pair for pair in covered if not admitted[pair[1]] <= admitted[pair[0]]] == []
    assert len(covered) > 5 * len(small)


def test_listed_event_widens() -> None:
    """Listing an event that is otherwise refused admits more, not less."""
    refused: RefusedValues = (("event_name", ("pull_request_target",)),)
    wide = grant(((("repository_id",), ("1",)),))
    narrow = grant(((("repository_id",), ("1",)), (("event_name",), ("push", "pull_request_target"))))
    assert not covers(wide, narrow, refused)
    assert covers(wide, narrow)
    assert covers(narrow, narrow, refused)


@given(
    st.data(),
    st.sampled_from(["gpt-5", "gpt-5-mini", "gpt-", "gpt-4", "models/x", "models/gemini-3", "models/gemini-"]),
)
def test_cover_allows_all_models(data: st.DataObject, model: str) -> None:
    """A grant that covers another one allows every model which that one allows."""
    wide, narrow, refused = covering(data)
    if covers(wide, narrow, refused):
        allowed = [
            one.models is None or any(model_matches(each, model) for each in one.models) for one in (wide, narrow)
        ]
        assert allowed[0] or not allowed[1]


def test_cover_is_wider_in_each_field() -> None:
    """A cover has at least the scope, the models and the addresses."""
    claims: Claims = ((("x",), ("a",)),)
    cases: list[tuple[str, Any, Any]] = [
        ("scope", ("GET:/v1/*",), ("GET:/v1/models",)),
        ("models", ("gpt-5-*",), ("gpt-5-mini",)),
        ("models", None, ("gpt-5-mini",)),
        ("source_ips", ("198.51.100.0/24",), ("198.51.100.128/25",)),
        ("source_ips", None, ("198.51.100.0/24",)),
    ]
    for field, wide, narrow in cases:
        assert covers(grant(claims, **{field: wide}), grant(claims, **{field: narrow})), field
        assert not covers(grant(claims, **{field: narrow}), grant(claims, **{field: wide})), field
    assert not covers(grant(claims, source_ips=("0.0.0.0/0",)), grant(claims, source_ips=("::/0",)))
