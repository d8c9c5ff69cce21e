"""What a program holds instead of a key, with a real broker and real SDKs; and, where it counts, with a scripted one."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

import keybroker
from keybroker import IdentityError, NoIdentity, NotConfigured, Refused, TokenProvider
from tests.running import ROOT, Running, start, wait_until
from tests.scripted_broker import Script, dropped, jwt, lives, refused, scripted, when_released

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
def token_in_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", jwt(aud="keybroker"))


@pytest.fixture(scope="module")
def short_lived() -> Iterator[Running]:
    """A broker whose tokens live for three seconds."""
    with start("--practice-ttl", "3") as one:
        yield one


def ask(client: openai.OpenAI) -> str:
    done = client.chat.completions.create(model="gpt-5-mini", messages=HELLO)
    return str(done.choices[0].message.content)


# One line changed


@pytest.mark.usefixtures("github_job")
def test_openai_takes_it_as_its_key() -> None:
    """OpenAI's client takes the provider as its key."""
    provider = TokenProvider("openai")
    with openai.OpenAI(api_key=provider, base_url=provider.base_url) as client:
        assert "hotel key card" in ask(client)


@pytest.mark.usefixtures("github_job")
def test_async_openai_takes_its_async_form() -> None:
    """OpenAI's async client takes the async form."""
    provider = TokenProvider("openai")

    async def run() -> str:
        async with openai.AsyncOpenAI(api_key=provider.async_(), base_url=provider.base_url) as client:
            done = await client.chat.completions.create(model="gpt-5-mini", messages=HELLO)
            return str(done.choices[0].message.content)

    # One loop after the other: what the first one awaited must not tie the second one's hands.
    assert all("hotel key card" in asyncio.run(run()) for _ in range(2))


@pytest.mark.usefixtures("github_job")
def test_token_says_its_remaining_life(github_job: Running) -> None:
    """The token says what it opens, where, and for how long."""
    provider = TokenProvider("openai", grant="ci", scope="GET:/v1/models")
    token = provider.token()
    assert (token.scope, token.base_url) == ("GET:/v1/models", f"{github_job.edge}/openai/v1")
    assert 800 < token.expires_in <= 900
    assert provider() == token.access_token
    assert TokenProvider("anthropic").base_url == f"{github_job.edge}/anthropic"


@pytest.mark.slow
def test_a_client_outlives_its_tokens(short_lived: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client outlives its tokens."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{short_lived.issuer}/_runner/token?api-version=2.0")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", short_lived.request_token)
    provider = TokenProvider("openai", short_lived.broker)
    http = openai.DefaultHttpxClient(auth=provider.httpx2_auth())  # a machine that is busy for seconds costs a 401
    seen: set[str] = set()

    def called_with_three_tokens() -> bool:
        ask(client)
        seen.add(provider())
        return len(seen) >= 3

    with openai.OpenAI(api_key="unused", base_url=provider.base_url, max_retries=0, http_client=http) as client:
        wait_until(called_with_three_tokens, 60)


# Single flight, over a socket


@pytest.mark.usefixtures("token_in_variable")
def test_fifty_threads_send_one_request() -> None:
    """Fifty threads send one request."""
    with scripted(when_released) as broker, ThreadPoolExecutor(50) as pool:
        provider = TokenProvider("openai", broker.url)
        barrier = threading.Barrier(51)

        def one(_: int) -> str:
            barrier.wait(30)
            return provider()

        found = [pool.submit(one, number) for number in range(50)]
        barrier.wait(30)
        broker.release.set()
        assert len({one.result(30) for one in found}) == 1
        assert len(broker.asked) == 1


@pytest.mark.usefixtures("token_in_variable")
def test_an_outage_is_not_noticed() -> None:
    """A broker that goes away is not missed while the token is valid."""
    with scripted(lives(900)) as broker:
        provider = TokenProvider("openai", broker.url)
        first = provider()
    assert provider() == first


# What is missing


def test_a_missing_url_names_its_variable() -> None:
    """Without a URL the error says which variable to set."""
    with pytest.raises(NotConfigured, match="set KEYBROKER_URL or pass url="):
        TokenProvider("openai")


@pytest.mark.parametrize(
    "url", ["http://broker.example.com", "broker.example.com", "https://", "https://[", "https://a:b"]
)
def test_an_unusable_url_is_refused_at_once(url: str) -> None:
    """An unusable URL is refused at once."""
    with pytest.raises(NotConfigured, match="broker URL"):
        TokenProvider("openai", url)


def test_a_key_name_is_required() -> None:
    """A key's name is required."""
    with pytest.raises(NotConfigured, match="no key name"):
        TokenProvider("", "https://broker.example.com")


def test_nothing_is_fetched_before_first_use() -> None:
    """Nothing is fetched before first use."""
    with scripted() as broker:
        TokenProvider("openai", broker.url).async_()
        assert broker.asked == []


def test_without_an_identity_sources_are_listed() -> None:
    """Without an identity the error lists the sources that were tried."""
    with pytest.raises(NoIdentity, match=r"a token file named by KEYBROKER_ID_TOKEN_FILE\n(.*\n)*.*AWS credentials"):
        TokenProvider("openai", "https://broker.example.com")()


def test_openai_shows_its_errors_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's client shows the provider's errors unchanged."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    provider = TokenProvider("openai", "https://broker.example.com", base_url="https://edge.example.com/openai/v1")
    client = openai.OpenAI(api_key=provider, base_url=provider.base_url)
    with client, pytest.raises(IdentityError, match="id-token: write"):
        ask(client)


@pytest.mark.usefixtures("token_in_variable")
def test_a_refusal_costs_one_request() -> None:
    """A refusal reaches the program after one request."""
    with scripted(refused(400, "invalid_target", "no grant admits you", x_request_id="r-1")) as broker:
        provider = TokenProvider("openai", broker.url, base_url="https://edge.example.com/openai/v1")
        with openai.OpenAI(api_key=provider, base_url=provider.base_url) as client, pytest.raises(Refused) as caught:
            ask(client)
        assert str(caught.value).startswith("invalid_target: no grant admits you (request r-1)")
        assert len(broker.asked) == 1


@pytest.mark.parametrize("script", [dropped, refused(400, "invalid_grant")], ids=["no answer", "a refusal"])
@pytest.mark.parametrize("form", ["sync", "async", "anthropic"])
def test_no_frame_of_an_error_holds_the_identity_token(
    script: Script, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No frame of an error's traceback holds the identity token."""
    subject = jwt(aud="keybroker", canary="canary-4711")
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", subject)
    with scripted(script) as broker:
        provider = TokenProvider("openai", broker.url)
        waiting = provider.async_()

        async def later() -> str:
            return await waiting()

        ways: dict[str, Callable[[], object]] = {"sync": provider, "anthropic": provider.anthropic()}
        ways["async"] = lambda: asyncio.run(later())
        with pytest.raises(keybroker.KeybrokerError) as caught:
            ways[form]()
    assert broker.asked[0].form["subject_token"] == subject
    for error in chain_of(caught.value):
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if Path(frame.f_code.co_filename).is_relative_to(ROOT / "keybroker"):
                assert subject.split(".")[1] not in repr(frame.f_locals), frame.f_code.co_qualname
        assert subject.split(".")[1] not in "".join(traceback.format_exception(error))


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and whatever it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# The audience, and taking back


def test_the_identity_token_has_the_audience(github_job: Running) -> None:
    """The identity token is for the given audience."""
    with pytest.raises(Refused, match=r"audience 'elsewhere'.*KEYBROKER_AUDIENCE"):
        TokenProvider("openai", github_job.broker, audience="elsewhere")()


def test_a_revoked_token_is_replaced(github_job: Running) -> None:
    """A revoked token opens nothing, and the next one does."""
    provider = TokenProvider("openai")
    first = provider()
    provider.revoke()
    assert github_job.complete(first).status == 403
    assert github_job.complete(provider()).status == 200


@pytest.mark.usefixtures("token_in_variable")
def test_without_a_token_nothing_is_revoked() -> None:
    """Without a token there is nothing to revoke."""
    with scripted() as broker:
        TokenProvider("openai", broker.url).revoke()
        assert broker.asked == []


# What it shows, and how it is copied


@pytest.mark.usefixtures("github_job")
def test_a_provider_shows_no_token(github_job: Running) -> None:
    """A provider's repr contains no token."""
    provider = TokenProvider("openai")
    text = provider()
    shown = repr(provider) + repr(vars(provider)) + repr(provider.token()) + repr(provider._shared._held)
    assert repr(provider) == f"TokenProvider('openai', url='{github_job.broker}')"
    assert text.split(".")[2] not in shown


@pytest.mark.usefixtures("token_in_variable")
def test_a_copy_shares_and_a_pickle_does_not() -> None:
    """A copy shares the token; one in another process fetches its own."""
    with scripted() as broker:
        provider = TokenProvider("openai", broker.url, grant="ci", timeout=5.0)
        assert copy.deepcopy(provider)() == provider()
        assert len(broker.asked) == 1
        sent = pickle.dumps(provider)
        assert provider().encode() not in sent
        assert pickle.loads(sent)() != provider()  # noqa: S301  made two lines above
        assert [asked.form["grant"] for asked in broker.asked] == ["ci", "ci"]
