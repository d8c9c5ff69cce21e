from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge.query import check, to_provider_form, values, without
from chalicelib.errors import Refusal

TOKEN = "eyJh.eyJp.c2ln-_"
_PIECES = st.sampled_from(
    ["a=1", "a=1", "b", "", "=", "keys=1", "key.x=2", "Key=3", "%6bey2=4", "q=%2e%2e", "x;key=5", "é"]
)
_TOKENS = st.sampled_from([f"key={TOKEN}", f"%6Bey={TOKEN}", f"k%65y={quote(TOKEN, safe='')}", "key=", "key"])


def refused(query: str, token_parameter: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        to_provider_form(query, token_parameter, TOKEN)
    return caught.value


@given(st.lists(st.tuples(st.booleans(), _PIECES, _TOKENS)))
def test_token_is_removed(found: list[tuple[bool, str, str]]) -> None:
    """The token is removed and the rest of the query stays as it was."""
    query = "&".join(token if is_token else other for is_token, other, token in found)
    left = "&".join(other for is_token, other, _ in found if not is_token)
    assert to_provider_form(query, "key", TOKEN) == left
    assert TOKEN not in left


@given(st.lists(_PIECES).map("&".join))
def test_query_without_token_parameter(query: str) -> None:
    """A query is untouched where the provider takes no token in it."""
    assert to_provider_form(query, "", TOKEN) == query


@pytest.mark.parametrize("query", ["key=AIza", f"key={TOKEN}&key=AIza", "a=1&%6bey=AIza"])
def test_another_key_in_the_query(query: str) -> None:
    """Another key in the token's parameter is refused."""
    refusal = refused(query, "key")
    assert (refusal.reason, refusal.error, refusal.status) == ("two_tokens", "invalid_request", 400)


@pytest.mark.parametrize("query", [f"key={TOKEN}", f"a=1&any={TOKEN}", f"k={quote(TOKEN).replace('.', '%2E')}"])
def test_token_in_query(query: str) -> None:
    """A token never goes on in the query."""
    refusal = refused(query, "")
    assert (refusal.reason, refusal.error, refusal.status) == ("token_in_query", "invalid_request", 400)
    assert TOKEN not in refusal.description


@pytest.mark.parametrize(
    "query",
    [
        "_method=DELETE",
        "a=1&_METHOD=put",
        "$httpMethod=DELETE",
        "%24httpMethod=GET",
        "%24httpHeaders=X-A:b",
        "%5fmethod=",
    ],
)
def test_method_override(query: str) -> None:
    """A parameter that names another method is a 400."""
    with pytest.raises(Refusal) as caught:
        check(query)
    assert (caught.value.reason, caught.value.error, caught.value.status) == ("method_override", "invalid_request", 400)


@pytest.mark.parametrize("query", ["", "method=DELETE", "q=_method", "a_method=1", "$alt=sse", "%24fields=a"])
def test_not_an_override(query: str) -> None:
    """Parameters that resemble an override are accepted."""
    check(query)


def test_values() -> None:
    """A parameter's values are decoded, in order."""
    assert values("key=a%2Eb&x=1&key=c+d&key", "key") == ["a.b", "c d", ""]
    assert without("key=a&x=%2E&key=c&&key", "key") == "x=%2E&"
    assert not re.search("key", without("key=a&%6Bey=b&ke%79", "key"))
