"""A person who has logged in with `keybroker login`: the login's ID token, refreshed where that is due."""

from __future__ import annotations

from keybroker.ambient import NO_LOGIN
from keybroker.errors import IdentityError, KeybrokerError
from keybroker.login import session, store
from keybroker.sources.identity_request import IdentityRequest


def find(request: IdentityRequest) -> str | None:
    """Return the login's token, None for no login; raises IdentityError. Its audience is always the login's client ID."""
    # SECURITY: an agent below exec gets no other token by asking for one (test_the_program_gets_no_login).
    where = None if request.environ.get(NO_LOGIN) else store.folder(request.environ)
    try:
        return None if where is None else session.current_token(where)
    except IdentityError:
        raise
    except KeybrokerError as error:
        raise IdentityError(f"the login cannot be refreshed: {error}") from error
