"""The token that a logged-in person proves themselves with: refreshed in time, by one process at a time; and the logout."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keybroker.errors import IdentityError, KeybrokerError, Unreachable
from keybroker.login import store
from keybroker.login.id_token import Login, expiry, read_login, renewed, with_next_refresh_token

if TYPE_CHECKING:
    from keybroker.login.device_flow import Codes

FRESH = 30.0
"""Seconds that an ID token has to have left; else it is refreshed first."""


def current_token(where: Path, now: Callable[[], float] = time.time) -> str | None:
    """Return the ID token of the login in a folder, None for no login; refreshes it where that is due.

    now: epoch seconds. Raises IdentityError: the login has ended, or its issuer cannot be reached and the token has expired.
    """
    login = store.load(where)
    if login is None:
        return None
    if _is_fresh(login, now()):
        return login.id_token
    if not login.refresh_token:
        return _last(login, now(), None)
    return _fresh_token(where, now)


def log_in(
    where: Path,
    issuer: str,
    client_id: str,
    show: Callable[[Codes], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Login:
    """Log a person in, and keep the login in a folder. show: shows the codes to the person. sleep: waits for seconds.

    Raises Unreachable, NotConfigured, IdentityError.
    """
    from keybroker.login import device_flow  # noqa: PLC0415  only needed here
    from keybroker.login.issuer import discover  # noqa: PLC0415  as below

    endpoints = discover(issuer)
    codes = device_flow.begin(endpoints, client_id)
    with store.locked(where):
        pass  # finds out now what would keep the login from being stored, and not once it is confirmed
    show(codes)
    login = read_login(device_flow.wait(endpoints, client_id, codes, sleep), issuer, client_id, time.time())
    with store.locked(where):
        store.save(where, login)
    return login


def revoke(login: Login) -> bool:
    """Revoke a login's refresh token at the issuer (RFC 7009); return whether there was one, and a way to do so.

    Raises KeybrokerError: it may still work.
    """
    from keybroker.login import issuer  # noqa: PLC0415  as below

    endpoints = issuer.discover(login.issuer)
    if not (login.refresh_token and endpoints.revocation):
        return False
    form = {"token": login.refresh_token, "token_type_hint": "refresh_token", "client_id": login.client_id}
    issuer.post(endpoints.revocation, form)
    return True


def _fresh_token(where: Path, now: Callable[[], float]) -> str | None:
    # SECURITY: one at a time, since an issuer that rotates refresh tokens takes a second use of one for theft and ends
    # the login (test_two_at_once_refresh_once).
    with store.locked(where):
        login = store.load(where)
        if login is None:
            return None  # another process has logged out
        return login.id_token if _is_fresh(login, now()) else _refreshed(where, login, now)


def _refreshed(where: Path, login: Login, now: Callable[[], float]) -> str:
    from keybroker.login import issuer  # noqa: PLC0415  ssl is slow to import, and most calls need no refresh

    try:
        endpoint = issuer.discover(login.issuer).token
        return _to_its_end(lambda: _replaced(where, login, endpoint, now))
    except issuer.IssuerRefused as refused:
        if refused.error == "invalid_grant":  # nothing makes it valid again, so it is not tried again
            login = replace(login, refresh_token="")
            store.save(where, login)
        return _last(login, now(), refused)
    except (Unreachable, IdentityError) as error:
        return _last(login, now(), error)


def _replaced(where: Path, login: Login, endpoint: str, now: Callable[[], float]) -> str:
    from keybroker.login import issuer  # noqa: PLC0415  as above

    form = {"grant_type": "refresh_token", "refresh_token": login.refresh_token, "client_id": login.client_id}
    response = issuer.post(endpoint, form)
    try:
        new = renewed(login, response, now())
    except IdentityError:
        # The one that was sent is spent, and a second use of it would end the login.
        store.save(where, with_next_refresh_token(login, response))
        raise
    store.save(where, new)
    return new.id_token


def _to_its_end(work: Callable[[], str]) -> str:
    """Do it in a thread that a Ctrl-C does not end, and that the interpreter's exit waits for.

    Otherwise the issuer might have replaced the refresh token, and nobody would have the new one.
    """
    done: Future[str] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  passed on to the caller
            done.set_exception(error)

    thread = threading.Thread(target=run, name="keybroker-login", daemon=False)
    try:
        thread.start()
    except RuntimeError:  # no thread can be started: the interpreter is exiting, or there are too many
        run()
        return done.result()
    try:
        return done.result()
    finally:
        thread.join()  # after a Ctrl-C, since the caller still holds the lock


def _last(login: Login, now: float, error: KeybrokerError | None) -> str:
    """Return the token that there is, as long as it is valid; raises IdentityError. error: why there is no other."""
    if expiry(login) > now:
        return login.id_token
    why = f": {error}" if error is not None else ""
    if login.refresh_token:
        text = f"the login's token has expired, and {login.issuer} gave no other{why}"
        raise IdentityError(f"{text}\nTry again later, or run keybroker login.")
    raise IdentityError(
        f"the login at {login.issuer} has ended{why}: run keybroker login\n"
        "keybroker logout removes it, so that other identities are looked for."
    )


def _is_fresh(login: Login, now: float) -> bool:
    return expiry(login) - now >= FRESH
