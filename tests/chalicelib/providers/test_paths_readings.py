"""An encoded slash has two readings: what is closed in one is closed, and what is open is open in both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.patterns import scope_covered
from chalicelib.providers.entry import Provider
from chalicelib.providers.paths import (
    is_closed,
    readings,
    scope_may_open,
    scope_opens,
    scope_within,
    split,
    to_provider_form,
)
from chalicelib.providers.presets import PROVIDERS
from tests import lenient_paths
from tests.refused import refused

_CASES = json.loads((Path(__file__).parents[2] / "vectors" / "client_paths.json").read_text(encoding="utf-8"))
GITHUB, GENERIC, OPENAI, GEMINI = (PROVIDERS[name] for name in ("github", "generic", "openai", "gemini"))


@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case['provider']} {case['call']}")
def test_client_path(case: dict[str, Any]) -> None:
    """What real clients send is opened by the scopes that name it, and by no others."""
    provider = PROVIDERS[case["provider"]]
    method, _, uri = case["call"].partition(" ")
    path = to_provider_form(split(f"/key{uri}")[1], provider.paths)
    scope = tuple(case["scope"])
    is_open = scope_opens(scope, method, path, provider) and not is_closed(provider, path)
    assert is_open is case["open"]
    assert scope_may_open(scope, method, uri) or not is_open


@pytest.mark.parametrize(
    "uri",
    [
        "/github/repos/o/r/contents/a%2F..%2Fb",
        "/github/repos/o/r/contents/..%2Fb",
        "/github/repos/o/r/contents/a%2F.",
        "/github/repos/o/r/contents/a%2F%2Fb",
        "/github/repos/o/r/contents/%2Fb",
        "/github/%2Fuser/keys",
        "/github/repos/o/r/contents/a%2F/b",
        "/github/repos/o/r/contents/a.%2Fb",
        "/github/repos/o/r/contents/a%2F%20b",
        "/github/repos/o/r/contents/a%20%2Fb",
        "/github/x%20%3Ay",
        "/github/x.%3Ay",
        "/github/a%252Fb",
        "/github/a%5Cb",
        "/github/a%3Bb",
        "/github/a%3Fb",
        "/github/a%23b",
        "/github/a%2fb",
        "/github/a%3ab",
        "/github/a%2F%00",
        "/github/a%2F%C0%AF",
        "/github%2Fuser/keys",
        "/git%3Ahub/user",
    ],
)
def test_hidden_segments(uri: str) -> None:
    """Dots, spaces, empty segments and controls are refused between encoded separators as between plain ones."""
    refusal = refused(lambda: split(uri))
    assert (refusal.reason, refusal.status) == ("path_ambiguous", 400)


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("openai", "/v1%2Forganization"),
        ("github", "/api%2Fv3/user/keys"),
        ("github", "/api/v3%2Fuser%2Fkeys"),
        ("github", "/api/v3/api%2Fv3/user/keys"),
        ("github", "/api%2Fgraphql"),
        ("groq", "/openai%2Fv1/keys"),
    ],
)
def test_encoded_beginning(provider: str, path: str) -> None:
    """A beginning with an encoded slash, which would be mapped without it, is refused."""
    refusal = refused(lambda: to_provider_form(path, PROVIDERS[provider].paths))
    assert refusal.reason == "path_ambiguous"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/repos/o/r/branches/feature%2Fx", ("/repos/o/r/branches/feature%2Fx",)),
        ("/repos/o/r/branches/a%2Fb/protection", ("/repos/o/r/branches/a%2Fb/protection",)),
        (
            "/repos/o/r/branches/main%2Fprotection",
            ("/repos/o/r/branches/main%2Fprotection", "/repos/o/r/branches/main/protection"),
        ),
        (
            "/repos/o/r/branches/main%2FRename%2Fx",
            ("/repos/o/r/branches/main%2FRename%2Fx", "/repos/o/r/branches/main/Rename/x"),
        ),
        (
            "/repos/o/r/commits/heads%2Fstatus/x",
            ("/repos/o/r/commits/heads%2Fstatus/x", "/repos/o/r/commits/heads/status/x"),
        ),
        ("/repos/o/r/contents/docs%2Fa.md", ("/repos/o/r/contents/docs/a.md",)),
        ("/repos/o%2Fr/x/contents/a%2Fb", ("/repos/o%2Fr/x/contents/a%2Fb", "/repos/o/r/x/contents/a/b")),
        ("/user%2Fkeys", ("/user%2Fkeys", "/user/keys")),
    ],
)
def test_no_endpoint_below_a_parameter(path: str, found: tuple[str, ...]) -> None:
    """A parameter has one reading only where nothing else could be reached by the other one."""
    assert readings(GITHUB, path) == found


def test_unknown_provider_has_both_readings() -> None:
    """Where nothing is known of an API, a call has to be open in both readings."""
    path = "/repos/o/r/branches/feature%2Fx"
    assert readings(GENERIC, path) == readings(None, path) == (path, "/repos/o/r/branches/feature/x")


@pytest.mark.parametrize(
    ("wanted", "scope", "provider", "within"),
    [
        ("GET:/v1/models/ft:gpt-4o:acme::A1", "GET:/v1/models/*", OPENAI, True),
        ("GET:/v1/models/ft%3Agpt-4o%3Aacme%3A%3AA1", "GET:/v1/models/*", OPENAI, True),
        ("POST:/v1beta/models/x:generateContent", "POST:/v1beta/models/*", GEMINI, False),
        ("GET:/repos/o/r/branches/a%2Fb", "GET:/repos/o/r/branches/*", GITHUB, True),
        ("GET:/repos/o/r/branches/a%2Fprotection", "GET:/repos/o/r/branches/*", GITHUB, False),
        ("GET:/projects/a%2Fb", "GET:/projects/*", GENERIC, False),
        ("GET:/projects/a%2Fb", "GET:/projects/**", GENERIC, True),
        ("GET:/projects/**", "GET:/projects/*", GENERIC, False),
        ("GET:/projects/*", "GET:/projects/**", GENERIC, True),
        ("GET:/projects/7/**", "GET:/projects/**", GENERIC, True),
        ("GET:/projects/**", "GET:/projects/*/**", GENERIC, False),
        ("GET:/**", "GET:/projects/**", GENERIC, False),
        ("GET:", "GET:/projects/**", GENERIC, False),
        ("", "GET:/projects/**", GENERIC, False),
    ],
)
def test_narrowed_scope(wanted: str, scope: str, provider: Provider, within: bool) -> None:  # noqa: FBT001  a table's
    """A caller may narrow a scope to what it opens at the key's provider, and to nothing else."""
    assert scope_within(wanted, (scope,), provider) is within


_PIECES = st.sampled_from(
    """/ / / %2F %2F : %3A %3A v1 user keys Keys repos o r contents branches main protection organization organizations
    auth_tokens authTokens webhooks models x:create hooks git ref api v3 orgs secrets environments prod a%20b . .. %2E ; %3B
    \\ %5C %25 %252F %00 - _ * %2A %40 @ %C3%A9 %EF%BC%8F keys%2F app%3Ainstall""".split()  # noqa: SIM905
)
_STARTS = st.sampled_from(["", "/repos/o/r", "/v1", "/v1beta", "/user", "/repos/o/r/branches/main", "/orgs/o"])
_METHODS = st.just("GET")
_SCOPES = st.sampled_from(
    [
        ("GET:/**",),
        ("GET:/v1/**", "GET:/user/**"),
        tuple("GET:" + "/*" * depth for depth in range(1, 7)),
        ("GET:/repos/*/*/branches/*", "GET:/repos/*/*/contents/*/*", "GET:/repos/*/*/git/ref/*/*"),
        ("GET:/v1/models/*", "GET:/v1/*/models", "GET:/v1beta/models/*:x"),
        ("GET:/*/*/*/*/*",),
    ]
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(PROVIDERS)), _SCOPES, _STARTS, st.lists(_PIECES, max_size=8).map("".join))
@example("github", ("GET:/**",), "/user%2Fkeys", "")
@example("github", ("GET:/**",), "/repos/o%2Fr/keys", "")
@example("openai", ("GET:/**",), "/v1/fine_tuning", "/checkpoints%2Fx%2Fpermissions")
@example("gemini", ("GET:/**",), "/v1beta", "/auth_tokens%3Acreate")
@example("github", ("GET:/repos/*/*/branches/*",), "/repos/o/r/branches/main", "%2Fprotection")
def test_nothing_closed_is_open(name: str, scope: tuple[str, ...], start: str, rest: str) -> None:
    """Nothing that is closed, by the preset or by the scope, opens under another spelling, however leniently it is read."""
    provider = PROVIDERS[name]
    try:
        path = to_provider_form(split(f"/key{start}{rest}")[1], provider.paths)
    except Refusal:
        return
    if is_closed(provider, path) or not scope_opens(scope, "GET", path, provider):
        return
    for meaning in lenient_paths.meanings(path):
        assert not lenient_paths.is_closed(provider.closed, meaning), meaning
    for reading in readings(provider, path):
        assert lenient_paths.opens(scope, "GET", reading, verbs=provider.verbs), reading
    if not provider.encoded_slashes:
        decoded = path.replace("%2F", "/")
        assert lenient_paths.opens(scope, "GET", re.sub("%3A", ":", decoded), verbs=provider.verbs), decoded


_PART = st.sampled_from(["a", "b", "*", "a%2Fb", "a:b", "*:b", "%2Fb", "repos", "o", "branches", "protection"])
_PARTS: st.SearchStrategy[str] = st.lists(_PART, min_size=1, max_size=4).map("/".join)
_FILLED = st.lists(st.sampled_from(["a", "a%2Fb", "a:b", "a%2Fprotection"]), min_size=6, max_size=6)


@given(_PARTS, _PARTS, st.sampled_from(["", "/**"]), _FILLED, st.sampled_from([GITHUB, GENERIC, OPENAI, GEMINI]))
@example("a%2Fb/*", "*/*", "", ["a"] * 6, GENERIC)
@example("a%2Fb/x", "*/x", "/**", ["a"] * 6, OPENAI)
@example("a%2Fb/*", "*%2Fb/*", "", ["a"] * 6, GITHUB)
def test_a_narrowed_scope_opens_no_more(
    narrow: str, wide: str, end: str, filled: list[str], provider: Provider
) -> None:
    """What a caller may narrow a scope to opens no call that the scope does not open, in either reading."""
    wanted, scope, path = f"GET:/{narrow}{end}", f"GET:/{wide}{end}", f"/{narrow}{end.replace('**', '*')}"
    for one in filled:
        path = path.replace("*", one, 1)
    if scope_within(wanted, (scope,), provider) and scope_opens((wanted,), "GET", path, provider):
        assert scope_opens((scope,), "GET", path, provider)


def test_no_cover_by_one_reading() -> None:
    """A scope with an encoded slash, which opens both readings, is not covered by one that opens one of them."""
    named = ["GET:/projects/group%2Fapp"]
    assert not scope_covered(named, ["GET:/projects/*"])
    assert not scope_covered(named, ["GET:/projects/*/*"])
    assert scope_covered(named, named)
    assert scope_covered(named, ["GET:/projects/**"])
