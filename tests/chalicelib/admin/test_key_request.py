from __future__ import annotations

from typing import Any

import pytest

from chalicelib.admin.key_request import PREFIX_LIMIT, VALUE_LIMIT, read
from chalicelib.errors import Refusal
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.origins import Origins
from chalicelib.providers.versions import KeyInfo, KeyVersion

VALUE = "sk-canary-0123456789abcdef"
HEADER_TEXT = "header must be the lower-case name of a header for keys, such as x-api-key"


def _info(provider: str, current: KeyVersion | None = None) -> KeyInfo:
    return KeyInfo("name", provider, current)


def key(provider: str = "openai", **fields: object) -> ProviderKey:
    return read({"value": VALUE, **fields}, _info(provider), Origins(), "v-1")


def malformed(fields: object, provider: str = "openai") -> str:
    with pytest.raises(Refusal) as caught:
        read(fields, _info(provider), Origins(), "v-1")
    refusal = caught.value
    assert (refusal.reason, refusal.error, refusal.status) == ("malformed_request", "invalid_request", 400)
    assert (refusal.__cause__, VALUE in refusal.description) == (None, False)
    return refusal.description


def parts_of(made: ProviderKey) -> tuple[str, str, str, str, str]:
    return made.version, made.origin, made.header, made.prefix, made.value


def test_provider_defaults() -> None:
    """Every field that is left out has the provider's default."""
    assert parts_of(key()) == ("v-1", "https://api.openai.com", "authorization", "Bearer ", VALUE)
    assert parts_of(key("anthropic")) == ("v-1", "https://api.anthropic.com", "x-api-key", "", VALUE)


def test_overrides() -> None:
    """Origin, header and prefix can be overridden."""
    more = {"origin": "https://api.example.com", "header": "x-token", "prefix": "Token "}
    assert parts_of(key("generic", **more)) == ("v-1", "https://api.example.com", "x-token", "Token ", VALUE)


def test_other_header_has_no_prefix() -> None:
    """A different header has no prefix unless one is sent."""
    assert key(header="x-api-key").prefix == ""
    assert key(header="authorization").prefix == "Bearer "
    assert key(header="authorization", prefix="").prefix == ""


@pytest.mark.parametrize(
    ("prefix", "provider", "expected"),
    [
        ("Token ", "generic", ("https://llm.example.com", "authorization", "Token ")),
        (None, None, ("https://llm.example.com", "authorization", "Bearer ")),  # nobody recorded these
        ("Token ", "openai", None),
    ],
)
def test_kept(prefix: str | None, provider: str | None, expected: tuple[str, str, str] | None) -> None:
    """What is left out stays as it is in force, unless that is another provider's."""
    current = KeyVersion("v0", "https://llm.example.com", "authorization", "ada", 1, prefix, provider)
    if expected is None:
        with pytest.raises(Refusal, match="malformed_request"):
            read({"value": VALUE}, _info("generic", current), Origins(), "v-1")
        return
    made = read({"value": VALUE}, _info("generic", current), Origins(), "v-1")
    assert (made.origin, made.header, made.prefix) == expected


def test_practice_origin_is_not_kept() -> None:
    """A practice provider's origin is not kept for a real key."""
    current = KeyVersion("v0", "http://localhost:8082", "authorization", "ada", 1)
    assert read({"value": VALUE}, _info("openai", current), Origins(), "v-1").origin == "https://api.openai.com"


def test_generic_needs_origin() -> None:
    """A key of the generic provider must name its origin."""
    assert malformed({"value": VALUE}, "generic") == "origin is required, since this provider has no default"


@pytest.mark.parametrize("value", ["x", "~", "a b", "sk " * 2 + "k", "!" * VALUE_LIMIT])
def test_value_characters(value: str) -> None:
    """A value is 1 to 8192 printable ASCII characters."""
    assert key(value=value).value == value


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", 5, True, [VALUE], {"a": VALUE}, "x" * (VALUE_LIMIT + 1)),
        *(VALUE + " ", " " + VALUE, VALUE + "\n", "\r\n" + VALUE, "a\nb", "a\r\nx-evil: 1", "a\tb", "a\x00b", "a\x7fb"),
        *("\u00e9", "\u202e" + VALUE, "\ud800", "\uff11\uff12\uff13"),
    ],
)
def test_bad_value(value: Any) -> None:  # noqa: ANN401  whatever JSON can hold
    """Any other value is refused and not quoted."""
    text = f"value must be 1 to {VALUE_LIMIT} printable ASCII characters, without spaces at the ends"
    assert malformed({"value": value}) == text


def test_value_with_prefix() -> None:
    """A value that starts with the prefix is refused: the key would have it twice."""
    for value in (f"Bearer {VALUE}", f"bearer {VALUE}"):
        assert malformed({"value": value}) == "value must be the key without its prefix, which is added to it"
    assert key("anthropic", value=f"Bearer {VALUE}").value == f"Bearer {VALUE}"


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-auth-token", "token"])
def test_header_for_keys(header: str) -> None:
    """The headers that providers use for keys are accepted."""
    assert key(header=header).header == header


@pytest.mark.parametrize(
    "header",
    [
        *("", " ", "X-Api-Key", "x api key", "x-api-key:", "x-api-key\r\nx-evil", "x-api-key\x00", "\u00e9", "x" * 65, "x(y)", "a/b"),
        *(None, 5, True, ["x-api-key"], {}),
    ],
)  # fmt: skip
def test_bad_header(header: object) -> None:
    """A header that is not a lower-case header name is refused."""
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
def test_reserved_header(header: str) -> None:
    """A header with another meaning (routing, framing, sender) is refused."""
    assert malformed({"value": VALUE, "header": header}) == HEADER_TEXT


@pytest.mark.parametrize("header", ["x_api_key", "x.api.key", "api_key", "x-goog_api_key"])
def test_header_that_folds(header: str) -> None:
    """A token's header in another spelling is refused, and the text says which spelling to use."""
    text = malformed({"value": VALUE, "header": header})
    found = header.replace("_", "-").replace(".", "-")
    assert text == f"header must be written {found}: in this spelling, many servers take it for that one"


@pytest.mark.parametrize(
    "header",
    [
        *("x_http_method_override", "x-http_method", "x.method.override", "x_forwarded_for", "keep_alive", "x_real_ip"),
        *("content_type", "transfer_encoding", "accept_encoding", "user_agent", "x_amz_date", "x_request_id"),
        *("x_original_url", "true_client_ip", "cloudfront_viewer_address", "set_cookie", "if_match"),
    ],
)
def test_reserved_in_every_spelling(header: str) -> None:
    """A reserved header is refused in every spelling that servers take for it, and the text says why."""
    text = malformed({"value": VALUE, "header": header})
    assert text.startswith(HEADER_TEXT)
    assert text.endswith("many servers take `_` and the like for `-`")


@pytest.mark.parametrize("header", ["x-method-override", "x-client-ip", "x-original-url", "x-rewrite-url", "proxy"])
def test_header_that_is_taken_off(header: str) -> None:
    """What the edge takes off a caller's call is no key's header."""
    assert malformed({"value": VALUE, "header": header}) == HEADER_TEXT


@pytest.mark.parametrize("header", ["x_vendor_key", "x.vendor", "vendor_token"])
def test_other_spellings(header: str) -> None:
    """A header of a provider's own may have any character of a name."""
    assert key(header=header).header == header


@pytest.mark.parametrize(
    "prefix", [None, 5, " Bearer", "Bearer\t", "a\r\nb", "\u00e9", "x" * (PREFIX_LIMIT + 1), "\x00"]
)
def test_bad_prefix(prefix: object) -> None:
    """A prefix is at most 64 printable ASCII characters and does not start with a space."""
    text = f"prefix must be at most {PREFIX_LIMIT} printable ASCII characters, and must not begin with a space"
    assert malformed({"value": VALUE, "prefix": prefix}) == text


@pytest.mark.parametrize(
    "fields",
    [None, [], VALUE, [VALUE], 5, {VALUE: ""}, {"value": VALUE, "Origin": "x"}, {"value": VALUE, VALUE: VALUE}],
)
def test_bad_shape(fields: object) -> None:
    """A body of another shape is refused without quoting it."""
    assert malformed(fields) == "the body must be a JSON object; its members are value, origin, header, prefix"


@pytest.mark.parametrize("name", ["origin", "header", "prefix"])
def test_misplaced_key_is_not_quoted(name: str) -> None:
    """A key that was sent in the wrong member is not quoted."""
    malformed({"value": VALUE + "\n", name: VALUE.upper()})
    malformed({name: VALUE})


@pytest.mark.parametrize("origin", [None, 5, [], {}, True])
def test_origin_is_text(origin: object) -> None:
    """An origin is text."""
    assert malformed({"value": VALUE, "origin": origin}) == "origin must be text"


def test_redacted() -> None:
    """The key that was read does not show its value."""
    assert VALUE not in repr(key()) + str(key())
