"""Anthropic's SDK with `credentials=provider.anthropic()`: tokens, refreshes and errors, with the real SDK."""

from __future__ import annotations

import asyncio
import pickle

import anthropic
import pytest

import keybroker
from keybroker import NoIdentity, Refused, TokenProvider
from tests.running import Running
from tests.scripted_broker import good, in_turn, jwt, refused, scripted


@pytest.fixture(autouse=True)
def no_anthropic_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def ask(client: anthropic.Anthropic) -> str:
    message = client.messages.create(
        model="claude-sonnet-4-6", max_tokens=64, messages=[{"role": "user", "content": "hello"}]
    )
    return getattr(message.content[0], "text", "")


def client_of(provider: TokenProvider) -> anthropic.Anthropic:
    return anthropic.Anthropic(credentials=provider.anthropic(), base_url=provider.base_url)


def test_its_clients_take_it_as_credentials(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anthropic's clients, sync and async, take the credentials."""
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", running.mint("74012"))
    provider = TokenProvider("anthropic", running.broker)
    with client_of(provider) as client:
        assert "hotel key card" in ask(client)

    async def run() -> str:
        async with anthropic.AsyncAnthropic(
            credentials=provider.anthropic(), base_url=provider.base_url
        ) as asynchronous:
            message = await asynchronous.messages.create(
                model="claude-sonnet-4-6", max_tokens=64, messages=[{"role": "user", "content": "hello"}]
            )
            return getattr(message.content[0], "text", "")

    assert "hotel key card" in asyncio.run(run())


def test_a_401_gets_one_fresh_token(github_job: Running) -> None:
    """After a 401 the SDK gets one fresh token, and the call succeeds."""
    running = github_job
    provider = TokenProvider("anthropic", running.broker)
    with client_of(provider) as client:
        ask(client)
        first = provider()
        # Revoked and restored: tokens from before stay invalid, and the edge says 401, since a fresh one helps.
        revocation = running.revoke("grant", "claude")
        assert running.administer("DELETE", f"/admin/revocations/{revocation}").status in (200, 204)
        assert "hotel key card" in ask(client)
        assert provider() != first


def test_a_refusal_reaches_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal reaches the user with its own text, after one request."""
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", jwt())
    with scripted(refused(400, "invalid_target", "no grant admits you", x_request_id="r-1")) as broker:
        provider = TokenProvider("anthropic", broker.url, base_url="http://127.0.0.1:1")
        with client_of(provider) as client, pytest.raises(anthropic.AnthropicError) as caught:
            ask(client)
        assert len(broker.asked) == 1
    assert isinstance(caught.value, Refused)
    assert str(caught.value).startswith("invalid_target: no grant admits you (request r-1)")
    assert (caught.value.status, caught.value.error) == (400, "invalid_target")
    assert type(caught.value).__name__ == "Refused"


def test_a_missing_identity_reaches_the_user() -> None:
    """A missing identity reaches the user with its own text."""
    provider = TokenProvider("anthropic", "https://broker.example.com", base_url="http://127.0.0.1:1")
    with client_of(provider) as client, pytest.raises(NoIdentity, match="KEYBROKER_ID_TOKEN") as caught:
        ask(client)
    assert isinstance(caught.value, anthropic.AnthropicError)


def test_error_classes_are_stable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error has the same class each time."""
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", jwt())
    found = []
    with scripted(refused(400, "invalid_target", "no grant")) as broker:
        provide = TokenProvider("anthropic", broker.url).anthropic()
        for _ in range(2):
            with pytest.raises(keybroker.KeybrokerError) as caught:
                provide()
            found.append(type(caught.value))
    assert found[0] is found[1]


def test_force_refresh_replaces_the_last_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """force_refresh replaces the token that was last given, and no other."""
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", jwt())
    with scripted(in_turn(good)) as broker:
        provider = TokenProvider("anthropic", broker.url)
        provide = provider.anthropic()
        first = provide(force_refresh=True)  # nothing was given yet, so nothing was rejected
        assert provide().token == first.token
        assert first.expires_at == 0  # the SDK asks each time, and keeps nothing
        second = provide(force_refresh=True)
        assert second.token != first.token
        assert provider() == second.token
        assert len(broker.asked) == 2


def test_a_used_provider_can_be_pickled() -> None:
    """A provider whose credentials are in use can still be pickled."""
    provider = TokenProvider("anthropic", "https://broker.example.com")
    provider.anthropic()
    assert pickle.dumps(provider)
