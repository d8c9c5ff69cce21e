from __future__ import annotations

from typing import Any

import pytest

from chalicelib.admin.key_request import PREFIX_LIMIT, VALUE_LIMIT, read
from chalicelib.errors import Refusal
from chalicelib.providers.keys import PROVIDERS, ProviderKey
from chalicelib.providers.origins import Origins

VALUE = "sk-canary-0123456789abcdef"
HEADER_TEXT = "header must be the name of a header for keys, in lower case, such as x-api-key"


def key(provider: str = "openai", **fields: object) -> ProviderKey:
    return read({"value": VALUE, **fields}, PROVIDERS[provider], Origins(), "v-1")


def malformed(fields: object, provider: str = "openai") -> str:
    with pytest.raises(Refusal) as caught:
        read(fields, PROVIDERS[provider], Origins(), "v-1")
    refusal = caught.value
    assert (refusal.reason, refusal.error, refusal.status) == ("malformed_request", "invalid_request", 400)
    assert (refusal.__cause__, VALUE in refusal.description) == (None, False)
    return refusal.description


def parts_of(made: ProviderKey) -> tuple[str, str, str, str, str]:
    return made.version, made.origin, made.header, made.prefix, made.value


def test_what_is_not_sent_is_the_provider_s_own() -> None:
    assert parts_of(key()) == ("v-1", "https://api.openai.com", "authorization", "Bearer ", VALUE)
    assert parts_of(key("anthropic")) == ("v-1", "https://api.anthropic.com", "x-api-key", "", VALUE)


def test_origin_header_and_prefix_may_be_others() -> None:
    more = {"origin": "https://api.example.com", "header": "x-token", "prefix": "Token "}
    assert parts_of(key("generic", **more)) == ("v-1", "https://api.example.com", "x-token", "Token ", VALUE)


def test_a_header_of_another_name_has_no_prefix_unless_one_is_sent() -> None:
    assert key(header="x-api-key").prefix == ""
    assert key(header="authorization").prefix == "Bearer "
    assert key(header="authorization", prefix="").prefix == ""


def test_a_generic_key_has_to_name_its_origin() -> None:
    assert malformed({"value": VALUE}, "generic") == "origin must be named, for this provider has none of its own"


@pytest.mark.parametrize("value", ["x", "~", "a b", "sk " * 2 + "k", "!" * VALUE_LIMIT])
def test_a_value_is_printable_ascii_of_bounded_size(value: str) -> None:
    assert key(value=value).value == value


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", 5, True, [VALUE], {"a": VALUE}, "x" * (VALUE_LIMIT + 1)),
        *(VALUE + " ", " " + VALUE, VALUE + "\n", "\r\n" + VALUE, "a\nb", "a\r\nx-evil: 1", "a\tb", "a\x00b", "a\x7fb"),
        *("\u00e9", "\u202e" + VALUE, "\ud800", "\uff11\uff12\uff13"),
    ],
)
def test_any_other_value_is_refused_and_not_quoted(value: Any) -> None:  # noqa: ANN401  whatever JSON can hold
    text = f"value must be 1 to {VALUE_LIMIT} printable ASCII characters, without spaces at the ends"
    assert malformed({"value": value}) == text


def test_a_value_with_its_prefix_would_have_it_twice() -> None:
    for value in (f"Bearer {VALUE}", f"bearer {VALUE}"):
        assert malformed({"value": value}) == "value must be the key alone: the prefix is put before it"
    assert key("anthropic", value=f"Bearer {VALUE}").value == f"Bearer {VALUE}"


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-auth-token", "token"])
def test_a_header_is_one_for_keys(header: str) -> None:
    assert key(header=header).header == header


@pytest.mark.parametrize(
    "header",
    [
        *("", " ", "X-Api-Key", "x api key", "x-api-key:", "x-api-key\r\nx-evil", "x-api-key\x00", "\u00e9", "x" * 65, "x(y)", "a/b"),
        *(None, 5, True, ["x-api-key"], {}),
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_refused(header: object) -> None:
    assert malformed({"value": VALUE, "header": header}) == HEADER_TEXT


@pytest.mark.parametrize(
    "header",
    [
        *("host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "keep-alive"),
        *("te", "trailer", "upgrade", "proxy-authorization", "proxy-connection", "expect", "via", "date", "cookie"),
        *("set-cookie", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "true-client-ip", "range"),
        *("accept", "accept-encoding", "if-none-match", "origin", "referer", "user-agent", "cache-control"),
        *("x-amz-cf-id", "x-amzn-trace-id", "x-amz-date", "x-edge-location", "x-accel-redirect", "cloudfront-viewer-address"),
        *("sec-fetch-mode", "access-control-allow-origin", "x-http-method-override", "x-request-id", "cf-connecting-ip"),
    ],
)  # fmt: skip
def test_a_header_that_means_something_else_is_refused(header: str) -> None:
    assert malformed({"value": VALUE, "header": header}) == HEADER_TEXT


@pytest.mark.parametrize(
    "prefix", [None, 5, " Bearer", "Bearer\t", "a\r\nb", "\u00e9", "x" * (PREFIX_LIMIT + 1), "\x00"]
)
def test_a_prefix_is_printable_ascii_of_bounded_size(prefix: object) -> None:
    text = f"prefix must be at most {PREFIX_LIMIT} printable ASCII characters, and begin with no space"
    assert malformed({"value": VALUE, "prefix": prefix}) == text


@pytest.mark.parametrize(
    "fields",
    [None, [], VALUE, [VALUE], 5, {VALUE: ""}, {"value": VALUE, "Origin": "x"}, {"value": VALUE, VALUE: VALUE}],
)
def test_a_body_of_another_shape_is_refused_without_naming_what_is_in_it(fields: object) -> None:
    assert malformed(fields) == "the body must be a JSON object; its members are value, origin, header, prefix"


@pytest.mark.parametrize("name", ["origin", "header", "prefix"])
def test_a_key_that_is_sent_as_something_else_is_not_quoted(name: str) -> None:
    malformed({"value": VALUE + "\n", name: VALUE.upper()})
    malformed({name: VALUE})


@pytest.mark.parametrize("origin", [None, 5, [], {}, True])
def test_an_origin_is_text(origin: object) -> None:
    assert malformed({"value": VALUE, "origin": origin}) == "origin must be text"


def test_what_is_read_redacts_itself() -> None:
    assert VALUE not in repr(key()) + str(key())
