"""The token of a login: refreshed in time, once for all processes, and gone after a logout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from keybroker import IdentityError
from keybroker.login import session, store
from keybroker.login.id_token import Login
from keybroker.login.session import current_token, log_in, revoke
from tests.keybroker.cli.keybroker_command import COMMAND, bare
from tests.login_issuer import CLIENT, PENDING, Answer, LoginIssuer


def logged_in(issuer: LoginIssuer, where: Path) -> Login:
    return log_in(where, issuer.url, CLIENT, lambda _: None, lambda _: None)


def keep(issuer: LoginIssuer, where: Path, lives: float, refresh: str = "refresh-0") -> str:
    """Store a login whose ID token lives so long, as an earlier run would have; return the token."""
    issuer.current_refresh, token = refresh, issuer.id_token(lives)
    with store.locked(where):
        store.save(where, Login(issuer.url, CLIENT, token, refresh))
    return token


def test_a_login_is_kept(issuer: LoginIssuer, where: Path) -> None:
    """After a login its token is served without asking the issuer again."""
    issuer.answers.append(PENDING)
    login = logged_in(issuer, where)
    asked = len(issuer.asked)
    assert current_token(where) == login.id_token == issuer.id_token()
    assert len(issuer.asked) == asked


def test_no_login_has_no_token(where: Path) -> None:
    """Without a login there is no token, and no folder is made."""
    assert (current_token(where), where.exists()) == (None, False)


@pytest.mark.parametrize("lives", [-60, 0, 25])
def test_an_old_token_is_refreshed(issuer: LoginIssuer, where: Path, lives: float) -> None:
    """A token that has expired, or soon will, is replaced, and so is the refresh token."""
    keep(issuer, where, lives)
    assert current_token(where) == issuer.id_token()
    form = {"grant_type": "refresh_token", "refresh_token": "refresh-0", "client_id": CLIENT}
    assert issuer.asked == [("/token", form)]
    stored = store.load(where)
    assert stored is not None
    assert (stored.refresh_token, current_token(where)) == ("refresh-1", stored.id_token)


@pytest.mark.parametrize(
    ("claims", "kept"), [({"exp": 1}, "refresh-7"), ({"aud": "other"}, "refresh-7"), ({"sub": "bob-2"}, "refresh-0")]
)
def test_a_useless_id_token_ends_no_login(issuer: LoginIssuer, where: Path, claims: dict[str, Any], kept: str) -> None:
    """A refresh token that came with an ID token of no use is kept, since the old one is spent; never another person's."""
    keep(issuer, where, -60)
    issuer.answers.append((200, {"id_token": issuer.id_token(**claims), "refresh_token": "refresh-7"}))
    with pytest.raises(IdentityError, match="gave no other"):
        current_token(where)
    stored = store.load(where)
    assert stored is not None
    assert stored.refresh_token == kept


def test_a_refresh_token_alone_is_kept(issuer: LoginIssuer, where: Path) -> None:
    """An issuer that answers a refresh with no ID token (OpenID Connect Core 12.2) does not cost the refresh token."""
    old = keep(issuer, where, 25)
    issuer.answers.append((200, {"access_token": "opaque", "refresh_token": "refresh-7"}))
    assert current_token(where) == old
    stored = store.load(where)
    assert stored is not None
    assert (stored.id_token, stored.refresh_token) == (old, "refresh-7")


def test_two_at_once_refresh_once(issuer: LoginIssuer, where: Path) -> None:
    """Threads and processes that need a new token at the same moment use the refresh token once."""
    keep(issuer, where, 0)
    issuer.hold = threading.Event()
    program = f"from pathlib import Path; from keybroker.login.session import current_token; print(current_token(Path({str(where)!r})))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=bare(), text=True)
    tokens: list[str | None] = []
    threads = [threading.Thread(target=lambda: tokens.append(current_token(where))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert issuer.arrived.wait(30)
    issuer.hold.set()
    for thread in threads:
        thread.join(30)
    printed = process.communicate(timeout=30)[0].strip()
    stored = store.load(where)
    assert stored is not None
    assert {*tokens, printed} == {stored.id_token}
    assert issuer.refreshes == 1


def test_a_ctrl_c_does_not_lose_the_login(issuer: LoginIssuer, where: Path) -> None:
    """A Ctrl-C while the issuer replaces the refresh token ends the command once the new one is stored."""
    keep(issuer, where, 0)
    issuer.hold = threading.Event()
    environ = {**bare(), "XDG_STATE_HOME": str(where.parent)}
    with subprocess.Popen([*COMMAND, "whoami"], stderr=subprocess.PIPE, env=environ, text=True) as process:
        assert issuer.arrived.wait(30)
        process.send_signal(signal.SIGINT)
        issuer.hold.set()
        _, said = process.communicate(timeout=30)
    stored = store.load(where)
    assert stored is not None
    assert (process.returncode, said.splitlines()[-1]) == (130, "interrupted")
    assert stored.refresh_token == issuer.current_refresh != "refresh-0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_keep_the_lock(where: Path) -> None:
    """A process that is forked while the lock is held does not hold it afterwards."""
    reading, writing = os.pipe()
    with store.locked(where):
        child = os.fork()
        if child == 0:
            os.read(reading, 1)
            os._exit(0)
    try:
        with store.locked(where):
            pass
    finally:
        os.write(writing, b"x")
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_an_ended_login_says_so(issuer: LoginIssuer, where: Path) -> None:
    """A login that the issuer has ended says what to do, and its refresh token is not tried again."""
    keep(issuer, where, -1)
    issuer.current_refresh = "revoked"
    for _ in range(2):
        with pytest.raises(IdentityError, match=rf"the login at {issuer.url} has ended.*: run keybroker login"):
            current_token(where)
    assert len(issuer.asked) == 1


@pytest.mark.parametrize("failure", [None, (503, {}), (400, {"error": "invalid_client"})])
def test_a_failed_refresh_loses_nothing(issuer: LoginIssuer, where: Path, failure: Answer) -> None:
    """While the issuer fails, the token serves to its end, and the refresh token is tried again."""
    old = keep(issuer, where, 20)
    issuer.answers.append(failure)
    assert current_token(where) == old
    assert current_token(where) == issuer.id_token()


@pytest.mark.parametrize(
    "failure", [None, (503, {}), (429, {"error": "slow_down"}), (400, {"error": "invalid_client"})]
)
def test_an_issuer_that_is_away(issuer: LoginIssuer, where: Path, failure: Answer) -> None:
    """Where the token has expired and the issuer fails, that is said, and not that the login has ended."""
    keep(issuer, where, -1)
    issuer.answers.append(failure)
    with pytest.raises(
        IdentityError, match=r"token has expired, and .* gave no other: (?s:.*)\nTry again later, or run keyb"
    ):
        current_token(where)
    assert current_token(where) == issuer.id_token()


def test_a_discovery_that_is_away(issuer: LoginIssuer, where: Path) -> None:
    """The same where the discovery document is not to be had."""
    keep(issuer, where, -1)
    issuer.document = (503, {})
    with pytest.raises(IdentityError, match=r"gave no other: .* answers with HTTP 503"):
        current_token(where)


def test_no_refresh_token(issuer: LoginIssuer, where: Path) -> None:
    """Without a refresh token the login ends with its ID token, and the issuer is not asked."""
    old = keep(issuer, where, 20, "")
    assert current_token(where) == old
    keep(issuer, where, -1, "")
    with pytest.raises(IdentityError, match=r"has ended: run keybroker login"):
        current_token(where)
    assert issuer.asked == []


def test_a_refresh_without_an_id_token(issuer: LoginIssuer, where: Path) -> None:
    """An issuer that gives no ID token for a refresh token is named as the reason."""
    keep(issuer, where, -1)
    issuer.answers.append((200, {"access_token": "opaque"}))
    with pytest.raises(IdentityError, match=r"gave no other: .* issued no ID token"):
        current_token(where)


def test_a_logout_wins_over_a_refresh(issuer: LoginIssuer, where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh that waited for a logout does not bring the login back."""
    keep(issuer, where, 0)
    waited = threading.Event()
    lock = store._lock

    def noted(descriptor: int) -> bool:
        has_it = lock(descriptor)
        if not has_it:
            waited.set()
        return has_it

    monkeypatch.setattr(store, "_lock", noted)
    found: list[str | None] = []
    with store.locked(where):
        thread = threading.Thread(target=lambda: found.append(current_token(where)))
        thread.start()
        assert waited.wait(30)
        (where / store.FILE).unlink()
    thread.join(30)
    assert (found, store.load(where), issuer.asked) == ([None], None, [])


def test_a_revocation_names_the_refresh_token(issuer: LoginIssuer, where: Path) -> None:
    """A logout revokes the refresh token (RFC 7009)."""
    login = logged_in(issuer, where)
    assert revoke(login)
    form = {"token": login.refresh_token, "token_type_hint": "refresh_token", "client_id": CLIENT}
    assert issuer.asked[-1] == ("/revoke", form)
    del issuer.discovery["revocation_endpoint"]
    assert not revoke(login)


def test_an_unusable_folder_is_found_first(issuer: LoginIssuer, where: Path) -> None:
    """Where the login could not be stored, the person is not sent to a browser."""
    where.parent.mkdir()
    where.write_text("a file in the way")
    shown: list[object] = []
    with pytest.raises(IdentityError, match="cannot be used"):
        session.log_in(where, issuer.url, CLIENT, shown.append, lambda _: None)
    assert shown == []
