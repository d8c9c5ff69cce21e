"""A person who has logged in with `keybroker login`: the login's ID token, refreshed where that is due."""

from __future__ import annotations

from keybroker.errors import IdentityError, KeybrokerError
from keybroker.login import session, store
from keybroker.sources.identity_request import IdentityRequest


def find(request: IdentityRequest) -> str | None:
    """Return the login's token, None for no login; raises IdentityError. Its audience is always the login's client ID."""
    where = store.folder(request.environ)
    try:
        return None if where is None else session.current_token(where)
    except IdentityError:
        raise
    except KeybrokerError as error:
        raise IdentityError(f"the login cannot be refreshed: {error}") from error
