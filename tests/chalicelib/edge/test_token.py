from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge.headers import Headers
from chalicelib.edge.token import find
from chalicelib.errors import Refusal
from chalicelib.providers.header_names import TOKEN_HEADERS

_PREFIXES = st.sampled_from(["", "Bearer ", "bearer   ", "BEARER ", "token ", "Token "])


def headers(*pairs: tuple[str, str]) -> Headers:
    names = tuple(name for name, _ in pairs)
    return Headers(names, names, [value for _, value in pairs])


@given(st.lists(st.tuples(st.sampled_from(TOKEN_HEADERS), _PREFIXES, st.booleans()), min_size=1))
def test_one_token(sent: list[tuple[str, str, bool]]) -> None:
    """One token is found in any header, however often it is there."""
    pairs = [
        (name, (prefix if name == "authorization" else "") + "a.b.c" * is_there) for name, prefix, is_there in sent
    ]
    assert find(headers(*pairs, ("accept", "x.y.z")), "") == ("a.b.c" if any(one[2] for one in sent) else "")


@pytest.mark.parametrize("first", TOKEN_HEADERS)
@pytest.mark.parametrize("second", TOKEN_HEADERS)
def test_two_tokens_in_headers(first: str, second: str) -> None:
    """Two different tokens in headers are refused."""
    with pytest.raises(Refusal) as caught:
        find(headers((first, "a.b.c"), (second, "d.e.f")), "")
    assert (caught.value.reason, caught.value.error, caught.value.status) == ("two_tokens", "invalid_request", 400)


@pytest.mark.parametrize("name", ["x_api_key", "x-api_key", "x.api.key", "x_goog_api_key", "api_key"])
def test_spelled_twice(name: str) -> None:
    """A token header in another spelling is a token header, so two different tokens are refused."""
    assert find(headers((name, "a.b.c")), "") == "a.b.c"
    with pytest.raises(Refusal) as caught:
        find(headers((name, "a.b.c"), ("x-api-key", "d.e.f")), "")
    assert caught.value.reason == "two_tokens"


def test_token_in_the_query() -> None:
    """A token in the query counts only where no header has one."""
    assert find(Headers(), "a=1&key=a.b.c") == "a.b.c"
    assert find(headers(("api-key", "")), "key=a.b.c&key=a.b.c") == "a.b.c"
    assert find(headers(("api-key", "a.b.c")), "key=x") == "a.b.c"
    assert find(Headers(), "keys=a.b.c&Key=a.b.c&a=key") == ""


def test_two_tokens_in_the_query() -> None:
    """Two different tokens in the query are refused."""
    with pytest.raises(Refusal) as caught:
        find(Headers(), "key=a.b.c&key=d.e.f")
    assert caught.value.reason == "two_tokens"


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Bearer a b", "Bearera.b.c"])
def test_other_schemes(value: str) -> None:
    """A value of another scheme is taken whole, and will not verify."""
    assert find(headers(("authorization", value)), "") == value.removeprefix("Bearer ")
