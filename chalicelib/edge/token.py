"""The token of a call: SDKs put it wherever they would put their key."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.edge import query as call_query
from chalicelib.edge.errors import TwoTokens
from chalicelib.edge.headers import TOKEN_HEADERS, Headers
from chalicelib.providers.presets import PROVIDERS

_SCHEMES = ("bearer", "token")  # PyGithub and GitHub's own command line send the second
_PARAMETERS = frozenset(one.token_parameter for one in PROVIDERS.values()) - {""}


def take(headers: Headers, query: str) -> str:
    """Return the unverified token, "" if there is none; raises TwoTokens.

    One in the query counts only where no header has one; whether it may be there is for the provider to say.
    """
    found = only(_of(name, header["value"]) for name in TOKEN_HEADERS for header in headers.get(name, ()))
    return found or only(value for name in _PARAMETERS for value in call_query.values(query, name))


def only(values: Iterable[str]) -> str:
    """Return the one value that there is, however often, "" if there is none; raises TwoTokens."""
    found = set(values) - {""}
    if len(found) > 1:
        raise TwoTokens
    return found.pop() if found else ""


def _of(name: str, value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if name == "authorization" and scheme.lower() in _SCHEMES else value.strip()
