"""GitHub Actions: the runner hands out a fresh token for each request.

https://docs.github.com/en/actions/reference/security/oidc
"""

from __future__ import annotations

import json
from urllib.parse import urlencode

from keybroker import bounded_http
from keybroker.errors import IdentityError, NotConfigured, Unreachable
from keybroker.sources.checked_token import checked_token
from keybroker.sources.patient_get import patient_get
from keybroker.sources.wanted import Wanted

_URL, _TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_PERMISSION = (
    "the job may not ask for identity tokens; add to the job, or to the workflow:\n"
    "  permissions:\n    id-token: write\n    contents: read\n"
    "A pull request from a fork never gets one."
)


def find(wanted: Wanted) -> str | None:
    """Return a fresh token of the runner, None outside of GitHub Actions; raises IdentityError."""
    if not wanted.environ.get("GITHUB_ACTIONS"):
        return None
    url, token = wanted.environ.get(_URL), wanted.environ.get(_TOKEN)
    for name, value in ((_URL, url), (_TOKEN, token)):
        if not value:
            raise IdentityError(f"this is a GitHub Actions job, and {name} is not set: {_PERMISSION}")
    joined = "&" if "?" in str(url) else "?"
    return _ask(f"{url}{joined}{urlencode({'audience': wanted.audience})}", str(token))


def _ask(url: str, token: str) -> str:
    headers = {"authorization": f"bearer {token}", "accept": "application/json"}
    try:
        answer = patient_get(bounded_http.get, url, headers)
    except (Unreachable, NotConfigured) as fault:
        raise IdentityError(f"GitHub's runner gave no identity token ({_URL}): {fault}") from fault
    if answer.status >= 500:
        raise IdentityError(f"GitHub's runner gave no identity token (HTTP {answer.status}); try the job again")
    if answer.status != 200:
        raise IdentityError(f"GitHub's runner refused an identity token (HTTP {answer.status}): {_PERMISSION}")
    try:
        value = json.loads(answer.body)["value"]
    except (ValueError, RecursionError, KeyError, TypeError):
        value = None
    if not isinstance(value, str):
        raise IdentityError(f"GitHub's runner answered without an identity token ({_URL}); try the job again")
    return checked_token(value, "the answer of GitHub's runner")
