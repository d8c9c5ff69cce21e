"""The credentials of the role that a server runs as, found as every AWS tool finds them and renewed beside the calls.

No call waits for them: where a role's credentials come from (STS, a container's or an instance's metadata) may be slow.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Self

import botocore.credentials
import botocore.exceptions
import botocore.session

from chalicelib.aws.sigv4 import Credentials
from chalicelib.errors import NotConfigured

RENEW_SECONDS = 60.0
"""Seconds between two looks. botocore renews what expires a quarter of an hour before it does."""
RETRY_SECONDS = 2.0
"""The same after a look that found nothing."""
_LOG = logging.getLogger("keybroker")

Find = Callable[[], Credentials | None]
"""Finds credentials, None if there are none; may take long, and raise what botocore raises."""


class RoleCredentials:
    """Those that were found last. Use as a context: a thread looks after them meanwhile."""

    def __init__(self, find: Find | None = None) -> None:
        """find: botocore's chain unless given: environment, files, web identity (Kubernetes), container (ECS, EKS), instance."""
        self._find = find or _Chain()
        self._found: Credentials | None = None
        self._stop, self._there = threading.Event(), threading.Event()
        self._said = False

    def __call__(self) -> Credentials | None:
        """Return them as they are known now, at once; None before any were found."""
        return self._found

    def look(self) -> bool:
        """Look for them; return whether any were found. Otherwise those that are known stay, until AWS refuses them."""
        try:
            found = self._find()
        except Exception as fault:  # noqa: BLE001  else the thread would end, and nothing be renewed ever again
            # SECURITY: the kind of fault alone: its text may quote a file or an answer (test_a_fault_is_not_quoted).
            self._say(type(fault).__name__)
            return False
        if found is None:
            self._say("there are none")
            return False
        self._found, self._said = found, False
        self._there.set()
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for the first ones; return whether there are any."""
        return self._there.wait(seconds)

    def __enter__(self) -> Self:
        threading.Thread(target=self._keep, name="role-credentials", daemon=True).start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stop.set()

    def _keep(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(RENEW_SECONDS if self.look() else RETRY_SECONDS)

    def _say(self, why: str) -> None:
        if not self._said:
            _LOG.warning("no AWS credentials for the tables: %s; every call is answered 503 until there are some", why)
        self._said = True


class _Chain:
    """botocore's: one object that renews itself."""

    def __init__(self) -> None:
        self._renewing: Any = None

    def __call__(self) -> Credentials | None:
        if self._renewing is None:
            session: Any = botocore.session.Session()
            self._renewing = session.get_credentials()
        if self._renewing is None:
            return None
        now = self._renewing.get_frozen_credentials()
        return Credentials(now.access_key, now.secret_key, now.token or "")


def session_of(credentials: Find) -> Any:  # noqa: ANN401  botocore's own has no types
    """Return a session of botocore whose clients sign each request with what `credentials` returns then, and wait for none.

    Raises NotConfigured where AWS's configuration is no use: a profile that is not there, a file that cannot be read.
    """
    session: Any = botocore.session.Session()
    try:
        session.get_scoped_config()  # here, not in the first client that is made
    except botocore.exceptions.BotoCoreError as fault:
        raise NotConfigured(hint=f"AWS's configuration: {type(fault).__name__}") from None
    session.register_component("credential_provider", _Known(credentials))
    return session


class _Known(botocore.credentials.Credentials):
    """What botocore asks for credentials, and those credentials."""

    def __init__(self, credentials: Find) -> None:
        super().__init__("", "")
        self._credentials = credentials

    def load_credentials(self) -> _Known:
        return self

    def get_frozen_credentials(self) -> botocore.credentials.ReadOnlyCredentials:
        # SECURITY: without any it must raise: botocore sends a request of a client that has none unsigned
        # (test_without_credentials_nothing_is_sent).
        now = self._credentials()
        if now is None:
            raise botocore.exceptions.NoCredentialsError
        return botocore.credentials.ReadOnlyCredentials(now.key_id, now.secret, now.session_token or None)
