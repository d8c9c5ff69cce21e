"""What a program holds instead of a key, with a real broker and real SDKs; and, where it counts, with a scripted one."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
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
from tests.scripted_broker import Script, bare_surroundings, dropped, jwt, lives, refused, scripted, when_released

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    bare_surroundings(monkeypatch)


@pytest.fixture
def job(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A GitHub Actions job at a running broker."""
    monkeypatch.setenv("KEYBROKER_URL", running.broker)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{running.issuer}/_runner/token?api-version=2.0")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", running.request_token)
    return running


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


@pytest.mark.usefixtures("job")
def test_openais_client_takes_it_as_its_key() -> None:
    provider = TokenProvider("openai")
    with openai.OpenAI(api_key=provider, base_url=provider.base_url) as client:
        assert "hotel key card" in ask(client)


@pytest.mark.usefixtures("job")
def test_openais_async_client_takes_its_async_form() -> None:
    provider = TokenProvider("openai")

    async def run() -> str:
        async with openai.AsyncOpenAI(api_key=provider.async_(), base_url=provider.base_url) as client:
            done = await client.chat.completions.create(model="gpt-5-mini", messages=HELLO)
            return str(done.choices[0].message.content)

    # One loop after the other: what the first one awaited must not tie the second one's hands.
    assert all("hotel key card" in asyncio.run(run()) for _ in range(2))


@pytest.mark.usefixtures("job")
def test_the_token_says_what_it_opens_where_and_how_long_it_still_lives(job: Running) -> None:
    provider = TokenProvider("openai", grant="ci", scope="GET:/v1/models")
    token = provider.token()
    assert (token.scope, token.base_url) == ("GET:/v1/models", f"{job.edge}/openai/v1")
    assert 800 < token.expires_in <= 900
    assert provider() == token.access_token
    assert TokenProvider("anthropic").base_url == f"{job.edge}/anthropic"


def test_a_client_outlives_its_tokens(short_lived: Running, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_broker_that_goes_away_is_not_missed_while_the_token_lives() -> None:
    with scripted(lives(900)) as broker:
        provider = TokenProvider("openai", broker.url)
        first = provider()
    assert provider() == first


# What is missing


def test_without_a_url_it_says_which_variable_to_set() -> None:
    with pytest.raises(NotConfigured, match="set KEYBROKER_URL or pass url="):
        TokenProvider("openai")


@pytest.mark.parametrize(
    "url", ["http://broker.example.com", "broker.example.com", "https://", "https://[", "https://a:b"]
)
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(NotConfigured, match="broker URL"):
        TokenProvider("openai", url)


def test_a_key_has_a_name() -> None:
    with pytest.raises(NotConfigured, match="no key name"):
        TokenProvider("", "https://broker.example.com")


def test_nothing_is_fetched_before_it_is_asked_for() -> None:
    with scripted() as broker:
        TokenProvider("openai", broker.url).async_()
        assert broker.asked == []


def test_without_an_identity_it_says_what_was_looked_for() -> None:
    with pytest.raises(NoIdentity, match=r"a token file named by KEYBROKER_ID_TOKEN_FILE\n(.*\n)*.*AWS credentials"):
        TokenProvider("openai", "https://broker.example.com")()


def test_openais_client_shows_its_errors_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    provider = TokenProvider("openai", "https://broker.example.com", base_url="https://edge.example.com/openai/v1")
    client = openai.OpenAI(api_key=provider, base_url=provider.base_url)
    with client, pytest.raises(IdentityError, match="id-token: write"):
        ask(client)


@pytest.mark.usefixtures("token_in_variable")
def test_a_refusal_reaches_the_program_after_one_request() -> None:
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


def test_the_identity_token_is_for_the_audience_that_is_asked_for(job: Running) -> None:
    with pytest.raises(Refused, match=r"audience 'elsewhere'.*KEYBROKER_AUDIENCE"):
        TokenProvider("openai", job.broker, audience="elsewhere")()


def test_a_token_that_is_taken_back_opens_nothing_and_the_next_one_does(job: Running) -> None:
    provider = TokenProvider("openai")
    first = provider()
    provider.revoke()
    assert job.complete(first).status == 403
    assert job.complete(provider()).status == 200


@pytest.mark.usefixtures("token_in_variable")
def test_without_a_token_there_is_nothing_to_take_back() -> None:
    with scripted() as broker:
        TokenProvider("openai", broker.url).revoke()
        assert broker.asked == []


# What it shows, and how it is copied


@pytest.mark.usefixtures("job")
def test_a_provider_shows_no_token(job: Running) -> None:
    provider = TokenProvider("openai")
    text = provider()
    shown = repr(provider) + repr(vars(provider)) + repr(provider.token()) + repr(provider._shared._held)
    assert repr(provider) == f"TokenProvider('openai', url='{job.broker}')"
    assert text.split(".")[2] not in shown


@pytest.mark.usefixtures("token_in_variable")
def test_a_copy_shares_the_token_and_one_in_another_process_fetches_its_own() -> None:
    with scripted() as broker:
        provider = TokenProvider("openai", broker.url, grant="ci", timeout=5.0)
        assert copy.deepcopy(provider)() == provider()
        assert len(broker.asked) == 1
        sent = pickle.dumps(provider)
        assert provider().encode() not in sent
        assert pickle.loads(sent)() != provider()  # noqa: S301  made two lines above
        assert [asked.form["grant"] for asked in broker.asked] == ["ci", "ci"]


# What it brings along


def test_every_public_name_can_be_imported_and_listed() -> None:
    for name in keybroker.__all__:
        assert getattr(keybroker, name) is not None
        assert name in dir(keybroker)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = keybroker.nothing


def test_a_program_that_uses_it_imports_no_sdk_and_no_other_package() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r});"
        "import keybroker; keybroker.TokenProvider('openai', 'https://broker.example.com').async_();"
        "import keybroker.ambient, keybroker.client;"
        "print(sorted({name.split('.')[0] for name in sys.modules} - {'keybroker', '__main__'} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("does", "without"),
    [
        ("import keybroker", {"dataclasses", "threading", "logging", "http.client", "ssl", "asyncio"}),
        ("import keybroker; keybroker.TokenProvider('k', 'https://b.example')", {"http.client", "ssl", "asyncio"}),
        ("import keybroker.fetch", {"asyncio", "subprocess", "urllib.request", "keybroker.aws"}),
    ],
)
def test_a_program_waits_for_no_import_that_it_does_not_need_yet(does: str, without: set[str]) -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {does}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) & without == set()


PROGRAM = """
import anthropic
import httpx
import openai

from keybroker import Token, TokenProvider

provider = TokenProvider("openai", grant="ci")
client = openai.OpenAI(api_key=provider, base_url=provider.base_url)
later = openai.AsyncOpenAI(api_key=provider.async_(), base_url=provider.base_url)
claude = anthropic.Anthropic(credentials=provider.anthropic(), base_url=provider.base_url)
plain = httpx.Client(auth=provider.httpx_auth())
token: Token = provider.token()
text: str = provider()
wrong: int = provider()
"""


@pytest.mark.slow
def test_a_program_that_uses_it_is_checked_by_its_types(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--config-file",
        "",
        str(tmp_path / "program.py"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    lines = [line for line in done.stdout.splitlines() if "error" in line]
    assert [line.partition("error: ")[2] for line in lines] == [
        'Incompatible types in assignment (expression has type "str", variable has type "int")  [assignment]'
    ], done.stdout
