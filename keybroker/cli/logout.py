"""`keybroker logout`: removes the login from this machine, and revokes it at the issuer."""

from __future__ import annotations

import os

import click

from keybroker.cli import output
from keybroker.cli.command_error import LOCAL, REMOTE, CommandError
from keybroker.cli.settings import common_options
from keybroker.errors import IdentityError, KeybrokerError
from keybroker.login import session, store


@click.command(short_help="Remove the login, and revoke it at its issuer.")
@common_options
def logout() -> None:
    """Remove the login from this machine, and revoke it at the issuer where that can be done.

    Tokens that were issued before live on for some minutes.
    """
    where = store.folder(os.environ)
    try:
        login = None if where is None else store.take(where)
    except IdentityError as error:
        raise CommandError(LOCAL, *str(error).splitlines(), "nothing was revoked at the issuer") from error
    if login is None:
        output.message("not logged in")
        return
    try:
        with output.waiting(f"waiting for {login.issuer}"):
            revoked = session.revoke(login)
    except KeybrokerError as error:
        text = f"the login is removed from this machine, but was not revoked at {login.issuer}: {error}"
        raise CommandError(REMOTE, text, "end the session there if others may have a copy of it") from error
    output.message("logged out" if revoked else f"logged out here; {login.issuer} offers no revocation for it")
