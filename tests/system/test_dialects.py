from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anthropic
import google.auth
import pytest
import urllib3
from anthropic.lib.credentials import WorkloadIdentityError
from google.auth import exceptions as google_exceptions
from google.auth import identity_pool
from google.auth.transport import urllib3 as google_transport

from tests.parts import claims_of
from tests.running import JWT, TOKEN_EXCHANGE, Answer, Running, call, start

pytestmark = pytest.mark.slow  # a whole machine is started

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
OAUTH_FLAG = "oauth-2025-04-20"
FORM = "application/x-www-form-urlencoded"
QUESTION: Any = [{"role": "user", "content": "hello"}]
MODEL = "claude-sonnet-4-6"


class Job:
    """A process' environment and its identity token file, as Anthropic's own documentation sets them up."""

    def __init__(self, running: Running, directory: Path, environment: pytest.MonkeyPatch) -> None:
        self.running = running
        self.file = directory / "identity-token"
        for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE", "ANTHROPIC_WORKSPACE_ID"):
            environment.delenv(name, raising=False)
        environment.setenv("HOME", str(directory))  # no profile of the user who runs the tests
        environment.setenv("ANTHROPIC_BASE_URL", f"{running.edge}/anthropic")
        environment.setenv("ANTHROPIC_FEDERATION_RULE_ID", "claude")
        environment.setenv("ANTHROPIC_ORGANIZATION_ID", "00000000-0000-4000-8000-000000000000")
        environment.setenv("ANTHROPIC_IDENTITY_TOKEN_FILE", str(self.file))

    def rotate(self, repository_id: str, **claims: object) -> str:
        """Put a fresh identity token into the file, as the kubelet does."""
        token = self.running.mint(repository_id, **claims)
        self.file.write_text(token)
        return token


@pytest.fixture
def job(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(running, tmp_path, monkeypatch)


def issued(running: Running, repository_id: str) -> list[dict[str, Any]]:
    """The audit's events of tokens issued to a repository, newest first."""
    path = f"/admin/audit?kind=token.issued&{urlencode({'principal': running.sub(repository_id)})}"
    return list(running.administer("GET", path).json["items"])


def seen(running: Running) -> dict[str, str]:
    """The headers of the newest call that the provider saw."""
    return dict(call("GET", f"{running.provider}/_seen").json["seen"][-1]["headers"])


def ask(client: anthropic.Anthropic) -> str:
    """Ask one question and read the answer as it streams in."""
    with client.messages.stream(model=MODEL, max_tokens=64, messages=QUESTION) as stream:
        return "".join(stream.text_stream)


# Anthropic's SDK, as it is


def test_anthropic_sdk(job: Job) -> None:
    """Anthropic's SDK needs nothing but its environment variables, and its calls pass through the edge."""
    identity = job.rotate("9101")
    with anthropic.Anthropic() as client:
        assert ask(client)
        assert ask(client)
    [event] = issued(job.running, "9101")
    assert (event["key"], event["grant"]) == ("anthropic", "claude")
    headers = seen(job.running)
    assert headers["x-api-key"].startswith("sk-practice-anthropic-")
    assert identity not in str(headers)
    assert OAUTH_FLAG not in str(headers)


def test_so_does_its_asynchronous_form(job: Job) -> None:
    job.rotate("9102")

    async def asked() -> str:
        async with anthropic.AsyncAnthropic() as client:
            message = await client.messages.create(model=MODEL, max_tokens=64, messages=QUESTION)
            return "".join(block.text for block in message.content if block.type == "text")

    assert asyncio.run(asked())
    assert len(issued(job.running, "9102")) == 1


def test_other_flags_of_the_caller_s_reach_the_provider(job: Job) -> None:
    job.rotate("9103")
    with anthropic.Anthropic(default_headers={"anthropic-beta": "context-1m-2025-08-07"}) as client:
        ask(client)
    assert seen(job.running)["anthropic-beta"] == "context-1m-2025-08-07"


def test_the_identity_token_may_stand_in_the_environment(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_IDENTITY_TOKEN_FILE")
    monkeypatch.setenv("ANTHROPIC_IDENTITY_TOKEN", job.running.mint("9104"))
    with anthropic.Anthropic() as client:
        assert ask(client)


def test_a_refusal_s_text_is_shown_to_the_user(job: Job) -> None:
    job.rotate("9105", repository_owner_id="1")
    with anthropic.Anthropic() as client, pytest.raises(WorkloadIdentityError) as caught:
        ask(client)
    text = str(caught.value)
    assert "no grant admits this identity for 'anthropic'" in text
    assert "your claim 'repository_owner_id' is '1'" in text
    assert "9919" not in text
    assert caught.value.status_code == 400
    path = f"/admin/audit?request_id={caught.value.request_id}"
    [event] = job.running.administer("GET", path).json["items"]
    assert (event["kind"], event["reason"]) == ("token.refused", "no_grant")
    assert f"[request_id={caught.value.request_id}]" in text
    assert caught.value.body["error"] == "invalid_target"


def test_an_identity_token_that_does_not_verify_is_refused_bare(job: Job) -> None:
    head, payload, signature = job.rotate("9106").split(".")
    job.file.write_text(f"{head}.{payload}.{signature[:-8]}AAAAAAAA")
    with anthropic.Anthropic() as client, pytest.raises(WorkloadIdentityError) as caught:
        ask(client)
    assert caught.value.body == {"error": "invalid_grant"}


def test_a_rule_that_is_for_another_key_opens_nothing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_FEDERATION_RULE_ID", "ci")
    job.rotate("9107")
    with anthropic.Anthropic() as client, pytest.raises(WorkloadIdentityError) as caught:
        ask(client)
    assert caught.value.body["error"] == "invalid_target"


def test_an_edge_s_refusal_is_shown_to_the_user_too(job: Job) -> None:
    job.rotate("9108")
    with anthropic.Anthropic(max_retries=0) as client, pytest.raises(anthropic.PermissionDeniedError) as caught:
        client.models.list()
    assert "the token does not open GET /v1/models" in str(caught.value)


@pytest.mark.slow
def test_a_token_that_the_edge_no_longer_takes_is_exchanged_anew_by_itself(job: Job) -> None:
    job.rotate("9109")
    with anthropic.Anthropic() as client:
        assert ask(client)
        revocation = job.running.revoke("principal", job.running.sub("9109"))
        job.running.administer("DELETE", f"/admin/revocations/{revocation}")
        job.rotate("9109")
        assert ask(client)
    assert len(issued(job.running, "9109")) == 2


def test_a_revoked_job_stays_out(job: Job) -> None:
    job.rotate("9110")
    with anthropic.Anthropic(max_retries=0) as client:
        assert ask(client)
        job.running.revoke("principal", job.running.sub("9110"))
        job.rotate("9110")
        with pytest.raises(anthropic.PermissionDeniedError) as caught:
            ask(client)
    assert "access is revoked (principal)" in str(caught.value)


@pytest.fixture(scope="module")
def brief() -> Iterator[Running]:
    with start("--practice-ttl", "2") as one:
        yield one


@pytest.mark.slow
def test_an_expired_token_is_exchanged_anew_by_itself(
    brief: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(brief, tmp_path, monkeypatch)
    job.rotate("9111")
    with anthropic.Anthropic() as client:
        assert ask(client)
        time.sleep(2.1)  # the token's life; the SDK's own clock is not ours to set
        job.rotate("9111")
        assert ask(client)
    assert len(issued(brief, "9111")) == 2


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"grant_type": TOKEN_EXCHANGE}, "unsupported_grant_type", f"grant_type must be {JWT_BEARER}"),
        ({"grant_type": None}, "unsupported_grant_type", f"grant_type must be {JWT_BEARER}"),
        ({"assertion": None}, "invalid_request", "assertion is missing"),
        ({"federation_rule_id": None}, "invalid_request", "federation_rule_id is missing"),
    ],
)
def test_what_anthropic_s_exchange_lacks_is_named(
    running: Running, change: dict[str, str | None], error: str, text: str
) -> None:
    sent = {"grant_type": JWT_BEARER, "assertion": running.mint("9112"), "federation_rule_id": "claude", **change}
    answer = call("POST", f"{running.edge}/anthropic/v1/oauth/token", sent)
    assert (answer.status, answer.json["error"], answer.json["error_description"]) == (400, error, text)


def test_an_audience_in_anthropic_s_exchange_changes_nothing(running: Running) -> None:
    sent = {"grant_type": JWT_BEARER, "assertion": running.mint("9113"), "federation_rule_id": "claude"}
    answer = call("POST", f"{running.edge}/anthropic/v1/oauth/token", {**sent, "audience": "openai", "grant": "ci"})
    assert claims_of(answer.json["access_token"])["aud"] == "anthropic"


# google-auth, as it is


def pool(running: Running, file: Path) -> Any:  # noqa: ANN401  google-auth's methods have no types
    """Credentials of an external account, from the JSON that google-auth reads."""
    info = {
        "type": "external_account",
        "audience": "openai",
        "subject_token_type": JWT,
        "token_url": f"{running.broker}/token",
        "credential_source": {"file": str(file), "format": {"type": "json", "subject_token_field_name": "id_token"}},
    }
    untyped: Any = identity_pool.Credentials
    return untyped.from_info(info)


@pytest.fixture
def transport() -> Iterator[google_transport.Request]:
    untyped: Any = google_transport.Request
    with urllib3.PoolManager() as manager:
        yield untyped(manager)


def stored(running: Running, directory: Path, repository_id: str, **claims: object) -> Path:
    """A file with an identity token, as a job writes it."""
    file = directory / "token.json"
    file.write_text(json.dumps({"id_token": running.mint(repository_id, **claims)}))
    return file


def test_google_auth_exchanges_with_the_key_s_name_as_audience(
    running: Running, tmp_path: Path, transport: google_transport.Request
) -> None:
    credentials = pool(running, stored(running, tmp_path, "9121"))
    headers: dict[str, str] = {}
    credentials.before_request(transport, "POST", f"{running.edge}/openai/v1/chat/completions", headers)
    assert claims_of(str(credentials.token))["sub"] == running.sub("9121")
    assert credentials.valid
    body = {"model": "gpt-5-mini", "messages": QUESTION}
    assert call("POST", f"{running.edge}/openai/v1/chat/completions", body, headers).status == 200
    credentials.before_request(transport, "POST", f"{running.edge}/openai/v1/chat/completions", headers)
    assert len(issued(running, "9121")) == 1


def test_google_auth_s_scopes_narrow_the_token(
    running: Running, tmp_path: Path, transport: google_transport.Request
) -> None:
    credentials = pool(running, stored(running, tmp_path, "9122")).with_scopes(["GET:/v1/models"])
    credentials.refresh(transport)
    assert claims_of(str(credentials.token))["scope"] == "GET:/v1/models"


def test_google_auth_loads_them_from_the_file_that_the_environment_names(
    running: Running, tmp_path: Path, transport: google_transport.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "google.json"
    file.write_text(json.dumps(pool(running, stored(running, tmp_path, "9123")).info))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "practice")
    credentials: Any = google.auth.default(request=transport)[0]
    credentials.refresh(transport)
    assert claims_of(str(credentials.token))["sub"] == running.sub("9123")


def test_google_auth_shows_the_refusal_to_its_user(
    running: Running, tmp_path: Path, transport: google_transport.Request
) -> None:
    credentials = pool(running, stored(running, tmp_path, "9124", repository_owner_id="1"))
    with pytest.raises(google_exceptions.OAuthError) as caught:
        credentials.refresh(transport)
    assert "Error code invalid_target: no grant admits this identity for 'openai'" in str(caught.value)
    assert "your claim 'repository_owner_id' is '1'" in str(caught.value)


def test_google_auth_s_default_scope_is_told_to_be_beyond_the_grant(
    running: Running, tmp_path: Path, transport: google_transport.Request
) -> None:
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials = pool(running, stored(running, tmp_path, "9125")).with_scopes(scopes)
    with pytest.raises(google_exceptions.OAuthError) as caught:
        credentials.refresh(transport)
    assert "Error code invalid_scope: beyond the grant" in str(caught.value)


# RFC 8693 as it is written


def exchange(running: Running, repository_id: str, **changes: str | None) -> Answer:
    """Send the form that `curl -d` sends; None leaves a parameter out."""
    fields: dict[str, str | None] = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": running.mint(repository_id),
        "subject_token_type": JWT,
        "audience": "openai",
        **changes,
    }
    body = urlencode({name: value for name, value in fields.items() if value is not None}).encode()
    return call("POST", f"{running.broker}/token", body, {"content-type": FORM, "accept": "*/*"})


def test_curl_needs_no_json(running: Running, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(running.mint("9131"))
    fields = ["grant_type=" + TOKEN_EXCHANGE, f"subject_token@{tmp_path / 'token'}", f"subject_token_type={JWT}"]
    arguments = [part for one in (*fields, "audience=openai") for part in ("--data-urlencode", one)]
    command = ["curl", "-sS", "-q", "--max-time", "20", "--noproxy", "*", *arguments, f"{running.broker}/token"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("there is no curl on this machine")
    answer = json.loads(done.stdout)
    assert (answer["issued_token_type"], answer["token_type"]) == (ACCESS_TOKEN, "Bearer")
    assert running.complete(answer["access_token"]).status == 200


def test_the_answer_is_rfc_8693_s(running: Running) -> None:
    answer = exchange(running, "9132")
    assert answer.status == 200
    assert set(answer.json) == {
        "access_token",
        "issued_token_type",
        "token_type",
        "expires_in",
        "scope",
        "base_url",
    }
    assert (answer.json["issued_token_type"], answer.json["token_type"]) == (ACCESS_TOKEN, "Bearer")
    assert type(answer.json["expires_in"]) is int
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")


@pytest.mark.parametrize("kind", [None, "", ACCESS_TOKEN, JWT])
def test_a_requested_type_that_an_access_token_meets_is_met(running: Running, kind: str | None) -> None:
    answer = exchange(running, "9133", requested_token_type=kind)
    assert (answer.status, answer.json["issued_token_type"]) == (200, ACCESS_TOKEN)


@pytest.mark.parametrize("kind", ["urn:ietf:params:oauth:token-type:refresh_token", ID_TOKEN, "access_token", "jwt"])
def test_any_other_requested_type_is_refused(running: Running, kind: str) -> None:
    answer = exchange(running, "9134", requested_token_type=kind)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert answer.json["error_description"] == "requested_token_type must be access_token"


def test_an_id_token_is_a_subject_token(running: Running) -> None:
    assert exchange(running, "9135", subject_token_type=ID_TOKEN).status == 200


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"subject_token_type": ACCESS_TOKEN}, "invalid_request", "subject_token_type must be jwt or id_token"),
        ({"subject_token_type": None}, "invalid_request", "subject_token_type is missing"),
        ({"subject_token": None}, "invalid_request", "subject_token is missing"),
        ({"audience": None}, "invalid_request", "audience is missing"),
        ({"grant_type": None}, "invalid_request", "grant_type is missing"),
        (
            {"grant_type": "client_credentials"},
            "unsupported_grant_type",
            f"grant_type must be {TOKEN_EXCHANGE} or {JWT_BEARER}",
        ),
        ({"actor_token": "a.b.c"}, "invalid_request", "actor_token is not supported"),
    ],
)
def test_what_is_wrong_with_a_form_is_said(
    running: Running, changes: dict[str, str | None], error: str, text: str
) -> None:
    answer = exchange(running, "9136", **changes)
    assert (answer.status, answer.json["error"], answer.json["error_description"]) == (400, error, text)
