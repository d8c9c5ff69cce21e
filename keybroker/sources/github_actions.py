"""GitHub Actions: the runner issues a fresh token for each request.

https://docs.github.com/en/actions/reference/security/oidc
"""

from __future__ import annotations

from urllib.parse import urlencode

from keybroker import http_client
from keybroker.errors import IdentityError, NotConfigured, Unreachable
from keybroker.json_object import read_json_object
from keybroker.sources.identity_request import IdentityRequest, check_token
from keybroker.sources.retry import get_with_retry, why

_URL, _TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_PERMISSION = (
    "the job may not request identity tokens; add to the job or the workflow:\n"
    "  permissions:\n    id-token: write\n    contents: read\n"
    "Pull requests from forks never get one."
)
_DENIED = (401, 403, 404)
"""The statuses that speak of the job's permission; any other is told as what it is."""


def find(request: IdentityRequest) -> str | None:
    """Return a fresh token from the runner, None outside of GitHub Actions; raises IdentityError."""
    if not request.environ.get("GITHUB_ACTIONS"):
        return None
    url, token = request.environ.get(_URL), request.environ.get(_TOKEN)
    for name, value in ((_URL, url), (_TOKEN, token)):
        if not value:
            raise IdentityError(f"this is a GitHub Actions job, but {name} is not set: {_PERMISSION}")
    separator = "&" if "?" in str(url) else "?"
    return _request(f"{url}{separator}{urlencode({'audience': request.audience})}", str(token))


def _request(url: str, token: str) -> str:
    headers = {"authorization": f"bearer {token}", "accept": "application/json"}
    try:
        response = get_with_retry(http_client.get, url, headers)
    except (Unreachable, NotConfigured) as error:
        raise IdentityError(f"the GitHub runner issued no identity token ({_URL}): {error}") from error
    if response.status in _DENIED:
        raise IdentityError(
            f"the GitHub runner refused to issue an identity token (HTTP {response.status}): {_PERMISSION}"
        )
    if response.status != 200:
        raise IdentityError(f"the GitHub runner issued no identity token ({why(response)})")
    value = read_json_object(response.body).get("value")
    if not isinstance(value, str):
        raise IdentityError(f"the GitHub runner's response has no identity token ({_URL}); rerun the job")
    return check_token(value, "the response from the GitHub runner")
