"""`keybroker login` at `oidc-provider`, which is OpenID-certified: device flow, refresh, logout. `make test-oidc` runs it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path

import pytest

from keybroker import IdentityError
from keybroker.login import session, store
from keybroker.login.device_flow import Codes
from keybroker.login.id_token import Login
from tests.integration import test_oidc_provider as issuer_tests
from tests.integration.test_oidc_provider import LOGIN, POLICY, Provider, provider_on
from tests.keybroker.cli.keybroker_command import run
from tests.running import Running, start

CLIENT = "keybroker-cli"
pytestmark = issuer_tests.pytestmark


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provider_on() as one:
        yield one


@pytest.fixture(scope="module")
def keybroker(provider: Provider) -> Iterator[Running]:
    policy = POLICY.replace("ISSUER", provider.url).replace("audience: keybroker", f"audience: {CLIENT}")
    with start(policy=policy) as one:
        yield one


@pytest.fixture
def where(tmp_path: Path) -> Path:
    return tmp_path / "keybroker"


@dataclass
class Person:
    """Someone with a browser, who answers once the code is shown. answer: `confirm` or `abort`."""

    answer: str = "confirm"
    codes: list[Codes] = field(default_factory=list)

    def decide(self, _seconds: float) -> None:
        """Do in a browser what the person does while the command line waits."""
        if not self.codes:
            return
        codes, browser = self.codes.pop(), issuer_tests._Browser()
        page, _ = browser.open(codes.verification_uri)
        page, _ = browser.open(_action(page), {"xsrf": _xsrf(page), "user_code": codes.user_code})
        assert codes.user_code in page
        form = {"xsrf": _xsrf(page), "user_code": codes.user_code, self.answer: "yes"}
        page, _ = browser.open(_action(page), form)
        if self.answer == "confirm":
            for form in ({"prompt": "login", "login": LOGIN, "password": "any"}, {"prompt": "consent"}):
                page, _ = browser.open(_action(page), form)
            assert "Sign-in Success" in page


def _action(page: str) -> str:
    found = re.search('<form[^>]* action="([^"]+)"', page)
    assert found, page
    return unescape(found[1])


def _xsrf(page: str) -> str:
    found = re.search('name="xsrf" value="([^"]+)"', page)
    assert found, page
    return found[1]


def log_in(provider: Provider, where: Path, person: Person | None = None) -> Login:
    one = person or Person()
    return session.log_in(where, provider.url, CLIENT, one.codes.append, one.decide)


def later(seconds: float) -> Callable[[], float]:
    return lambda: time.time() + seconds


def test_a_person_logs_in_and_calls(provider: Provider, keybroker: Running, where: Path) -> None:
    """A person logs in with a browser, gets a token with that login and calls through the edge with it."""
    log_in(provider, where)
    environ = {"XDG_STATE_HOME": str(where.parent), "KEYBROKER_URL": keybroker.broker}
    assert [line.split()[1] for line in run("whoami", environ=environ).out.splitlines()[:4]] == [
        "login",
        provider.url,
        LOGIN,
        CLIENT,
    ]
    for _ in range(2):  # the ID token is exchanged again and again
        done = run("token", "--key", "openai", environ=environ)
        assert done.code == 0, done
        assert keybroker.complete(done.out.strip()).status == 200


def test_a_denied_login(provider: Provider, where: Path) -> None:
    """A person who aborts in the browser ends the login at once."""
    with pytest.raises(IdentityError, match="the login was denied in the browser"):
        log_in(provider, where, Person("abort"))
    assert store.load(where) is None


def test_a_client_that_may_not(provider: Provider, where: Path) -> None:
    """A client that needs a secret, or that nobody knows, is refused with a hint."""
    for client in ("keybroker", "unknown"):
        with pytest.raises(IdentityError, match="must be of a public client"):
            session.log_in(where, provider.url, client, lambda _: None, lambda _: None)


def test_refresh_tokens_rotate(provider: Provider, keybroker: Running, where: Path) -> None:
    """Several at a time refresh in turn, so that no refresh token is used twice, and the new ID token is exchanged."""
    before = log_in(provider, where)
    found: list[str | None] = []
    due = later(590)  # ID tokens live 600 s, so that each of them refreshes
    threads = [threading.Thread(target=lambda: found.append(session.current_token(where, due))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    after = store.load(where)
    assert after is not None
    assert len({*found, before.id_token}) == 5
    assert after.refresh_token not in ("", before.refresh_token)
    assert session.current_token(where) == after.id_token
    assert keybroker.exchange(after.id_token).status == 200


def test_a_logout_ends_it_at_the_issuer(provider: Provider, where: Path) -> None:
    """After a logout a copy of the login gets no new token, and says that it has ended."""
    login = log_in(provider, where)
    environ = {"XDG_STATE_HOME": str(where.parent)}
    done = run("logout", environ=environ)
    assert (done.code, done.err, store.load(where)) == (0, "logged out\n", None)
    with store.locked(where):
        store.save(where, login)
    with pytest.raises(IdentityError, match=r"has ended: .*invalid_grant.*run keybroker login"):
        session.current_token(where, later(700))
