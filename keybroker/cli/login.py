"""`keybroker login`: a person at a laptop logs in with a browser, at an OIDC issuer of the policy."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from keybroker.claims import unverified_claims
from keybroker.cli import output
from keybroker.cli.command_error import LOCAL, REMOTE, CommandError
from keybroker.cli.settings import common_options
from keybroker.errors import IdentityError, Unreachable
from keybroker.login import session, store
from keybroker.login.device_flow import Codes
from keybroker.login.id_token import Login
from keybroker.login.issuer import shown


@click.command(short_help="Log in as a person, with a browser.")
@click.option(
    "--issuer", envvar="KEYBROKER_LOGIN_ISSUER", metavar="URL", help="The OIDC issuer. [KEYBROKER_LOGIN_ISSUER]"
)
@click.option(
    "--client-id",
    envvar="KEYBROKER_LOGIN_CLIENT_ID",
    metavar="ID",
    help="The public client's ID there. [KEYBROKER_LOGIN_CLIENT_ID]",
)
@click.option("--browser", is_flag=True, help="Also open the page in this machine's browser.")
@common_options
def login(issuer: str | None, client_id: str | None, browser: bool) -> None:  # noqa: FBT001  a flag
    """Log in as a person: show a code, and wait until you have confirmed it in a browser, here or elsewhere.

    Afterwards token, exec and proxy use that identity where no other is around, until keybroker logout. Without options, the
    issuer and the client are those of the last login.
    """
    where = store.folder(os.environ)
    if where is None:
        raise CommandError(LOCAL, "no place for the login: set HOME or XDG_STATE_HOME")
    issuer, client_id = _issuer_and_client(issuer, client_id, _last(where))
    try:
        done = session.log_in(where, issuer, client_id, lambda codes: _show(codes, issuer, browser=browser))
    except Unreachable as error:
        raise CommandError(REMOTE, str(error), "check the issuer's URL (--issuer) and that it is running") from error
    output.message(f"logged in at {issuer} as {_name(done)}")
    if not done.refresh_token:
        output.message("the issuer gave no refresh token: this login ends with its ID token")


def _last(where: Path) -> Login | None:
    try:
        return store.load(where)
    except IdentityError:
        return None  # it is about to be replaced


def _issuer_and_client(issuer: str | None, client_id: str | None, last: Login | None) -> tuple[str, str]:
    if last is not None and not issuer and not client_id:
        return last.issuer, last.client_id
    if not issuer:
        raise CommandError(LOCAL, "no issuer: pass --issuer https://… or set KEYBROKER_LOGIN_ISSUER")
    if not client_id:
        raise CommandError(LOCAL, "no client ID: pass --client-id ID or set KEYBROKER_LOGIN_CLIENT_ID")
    return issuer, client_id


def _show(codes: Codes, issuer: str, *, browser: bool) -> None:
    # SECURITY: a code that another person sent logs that person in as you, so what is confirmed is said
    # (test_what_is_confirmed_is_said).
    output.message(f"To log in at {issuer}, open this page in a browser, on this machine or another:")
    output.message(f"  {codes.verification_uri}")
    output.message("and enter or compare this code:")
    output.message(f"  {codes.user_code}")
    output.message(
        f"Confirming it lets {socket.gethostname()} act in your name. Confirm no code that you did not ask for here yourself, "
        "even if a colleague sends it."
    )
    if browser:
        import webbrowser  # noqa: PLC0415  seldom needed

        if not webbrowser.open(codes.verification_uri_complete or codes.verification_uri):
            output.message("no browser could be opened here")
    output.message(f"waiting for {codes.expires_in / 60:.0f} min at most; Ctrl-C ends it")


def _name(done: Login) -> str:
    claims = unverified_claims(done.id_token)
    names = (claims.get(name) for name in ("email", "preferred_username", "name"))
    name = next((shown(one) for one in names if isinstance(one, str) and one), "")
    subject = f"sub {shown(claims.get('sub'))}"
    return f"{name} ({subject})" if name else subject
