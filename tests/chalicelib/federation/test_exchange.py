"""What a provider's answer is taken for: a credential of use, or a word."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.federation.exchange import Answer, Minted, MintError, document, oauth_credential, post_json
from chalicelib.federation.federations import MINTS
from chalicelib.issuers.errors import FetchError
from chalicelib.providers.federated import FEDERATED

NOW = 1_800_000_000
SECRET = "assertion-that-is-secret"


class Provider:
    """Answers the same to everything, and keeps what it was asked. `fault` is raised instead, if there is one."""

    def __init__(self, answer: Answer | None = None, fault: Exception | None = None) -> None:
        self.answer, self.fault = answer, fault
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes, within: float) -> Answer:
        assert 0 < within <= 30
        self.asked.append((method, url, headers, body))
        if self.fault:
            raise self.fault
        assert self.answer is not None
        return self.answer

    def assertion(self, audience: str, life: int, algorithms: Sequence[str]) -> str:
        assert audience.startswith(("https://", "api://"))
        assert 0 < life <= 3600
        assert set(algorithms) <= {"ES256", "RS256", "ES384"}
        return SECRET

    def app_token(self, claims: Mapping[str, object]) -> str:
        assert claims == {"iss": "Iv1", "iat": NOW - 60, "exp": NOW + 540}
        return SECRET

    def bedrock_token(self, region: str, role: str, life: int) -> tuple[str, int]:
        return f"bedrock-api-key-{region}-{role}", NOW + life


def answer(status: int, body: object, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


GOOD = {"access_token": "c" * 40, "token_type": "Bearer", "expires_in": 900}


@pytest.mark.parametrize(
    ("status", "body", "problem", "denied"),
    [
        (401, {"type": "error", "error": {"type": "authentication_error", "message": SECRET}}, "authentication_error", True),
        (400, {"error": "invalid_grant", "error_description": SECRET}, "invalid_grant", True),
        (400, {"error": "invalid_client", "error_description": f"AADSTS700211: {SECRET}"}, "AADSTS700211", True),
        (403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": SECRET}}, "PERMISSION_DENIED", True),
        (401, {"message": SECRET}, "status_401", True),
        (400, {"error": SECRET}, "status_400", True),
        (400, {"error": [SECRET]}, "status_400", True),
        (403, SECRET.encode(), "status_403", True),
        (404, b"", "status_404", True),
        (429, {"error": "slow_down"}, "slow_down", False),
        (500, {}, "status_500", False),
        (302, {}, "status_302", False),
        (529, b"\xff", "status_529", False),
    ],
)  # fmt: skip
def test_what_a_provider_answers_is_never_quoted(status: int, body: object, problem: str, denied: bool) -> None:  # noqa: FBT001  a column
    """A refusal is its code, and none of its text; a no is told from a provider that is away."""
    with pytest.raises(MintError) as caught:
        post_json(Provider(answer(status, body)), "https://provider.example", {"assertion": SECRET})
    assert (caught.value.problem, caught.value.denied) == (problem, denied)
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__}{caught.value.args}"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a":1,"a":2}', SECRET.encode()])
def test_what_is_no_document(body: bytes) -> None:
    """An answer that is no JSON object is malformed, and nothing of it is quoted."""
    with pytest.raises(MintError, match=r"^malformed$") as caught:
        document(answer(200, body))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_provider_that_is_not_reached() -> None:
    """Why nobody answered is a fixed word, and nobody said no."""
    with pytest.raises(MintError, match=r"^unreachable$") as caught:
        post_json(Provider(fault=FetchError("unreachable")), "https://provider.example", {})
    assert not caught.value.denied


@pytest.mark.parametrize(
    ("said", "seconds"), [("120", 120), ("999999", 0), ("86400", 3600), ("-1", 0), ("soon", 0), ("", 0), ("٣", 0)]
)
def test_a_provider_that_asks_to_wait(said: str, seconds: int) -> None:
    """What it asks for is waited for, an hour at most."""
    with pytest.raises(MintError) as caught:
        post_json(Provider(answer(429, {}, retry_after=said)), "https://provider.example", {})
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("request_id", ["req_1", "a b", "x" * 101, "<script>", ""])
def test_a_request_id_is_plain(request_id: str) -> None:
    """The provider's id of a request is kept if it can be shown."""
    found = oauth_credential(answer(200, GOOD, request_id=request_id), NOW, 3600)
    assert found.request_id == ("req_1" if request_id == "req_1" else "")


def test_a_life_is_believed_up_to_a_limit() -> None:
    """No credential counts as valid for longer than its provider's credentials ever are."""
    assert oauth_credential(answer(200, {**GOOD, "expires_in": 10**12}), NOW, 3600).expires == NOW + 3600


def test_a_minted_value_is_in_no_repr() -> None:
    """A credential shows its end and not itself."""
    assert "c" * 16 not in repr(Minted("c" * 40, NOW)) + str(Minted("c" * 40, NOW))


@given(st.dictionaries(st.sampled_from(["access_token", "token_type", "expires_in"]), st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=40), st.just("Bearer"), st.lists(st.integers(), max_size=2))))  # fmt: skip
def test_any_answer(found: dict[str, object]) -> None:
    """Whatever the members are, it is a credential that can stand in a header, or malformed, or of too short a life."""
    try:
        minted = oauth_credential(answer(200, found), NOW, 3600)
    except MintError as error:
        assert error.problem in ("malformed", "life_too_short")  # noqa: PT017  either outcome may be right
    else:
        assert re.fullmatch(r"[\x21-\x7e]{16,}", minted.value)
        assert NOW + 120 <= minted.expires <= NOW + 3600


IDS = {
    "anthropic": {
        "rule": "fdrl_1",
        "organization": "00000000-0000-0000-0000-000000000000",
        "service_account": "svac_1",
    },
    "openai": {"identity_provider": "idp_1", "service_account": "svc_acct_1"},
    "openrouter": {"policy": "00000000-0000-0000-0000-000000000000"},
    "gemini": {"project_number": "123456", "pool": "pool", "pool_provider": "provider"},
    "azure-openai": {
        "tenant": "00000000-0000-0000-0000-000000000000",
        "client": "00000000-0000-0000-0000-000000000001",
        "resource": "acme",
    },
    "bedrock": {"region": "us-east-1"},
    "github-app": {"client": "Iv1", "installation": "5"},
}
HOSTS = {
    "anthropic": "https://api.anthropic.com/v1/oauth/token",
    "openai": "https://auth.openai.com/oauth/token",
    "openrouter": "https://openrouter.ai/api/v1/oauth/token",
    "gemini": "https://sts.googleapis.com/v1/token",
    "azure-openai": "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/oauth2/v2.0/token",
    "github-app": "https://api.github.com/app/installations/5/access_tokens",
}


@pytest.mark.parametrize("name", MINTS)
def test_where_each_provider_is_asked(name: str) -> None:
    """Each is asked at its own address over TLS, which nothing in a policy changes but by an id of a known form."""
    told = {**GOOD, "token": "t" * 40, "expires_at": "2027-01-15T09:00:00Z"}
    provider = Provider(answer(200, told))
    minted = MINTS[name](IDS[name], provider, NOW)
    assert NOW < minted.expires <= NOW + FEDERATED[name].longest
    assert [url for _, url, _, _ in provider.asked] == ([HOSTS[name]] if name in HOSTS else [])
    assert all("authorization" not in headers for _, _, headers, _ in provider.asked if name != "github-app")


@pytest.mark.parametrize("name", FEDERATED)
@pytest.mark.parametrize(
    "value", ["../x", "a/b", "a?b", "a#b", "a b", "a\n", "https://evil.example", "", "%2F", "x" * 700]
)
def test_an_id_means_nothing_else_there(name: str, value: str) -> None:
    """No id has a character that means anything in a path, a query or a host."""
    for field in (*FEDERATED[name].required, *FEDERATED[name].optional):
        assert FEDERATED[name].fault(field, value), field
    assert FEDERATED[name].fault("origin", "https://api.example")
    assert set(MINTS) == set(FEDERATED)
    assert all(FEDERATED[name].fault(field, one) is None for field, one in IDS[name].items())
