"""What is refused before anything else is looked at: requests that another site, or another name for this machine, sends.

Source: Fetch Metadata (W3C), and what DNS rebinding needs; docs/console.md names the attacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

BODY_LIMIT: Final = 256 * 1024
"""Bytes, as a form encodes them; a policy is the largest thing that is sent."""
METHODS: Final = ("GET", "HEAD", "POST")


def refusal(method: str, path: str, headers: Mapping[str, str], port: int) -> HTTPStatus | None:
    """Return why a request is refused, None if it is not. headers: by lower-case name."""
    own = f"127.0.0.1:{port}"
    # SECURITY: the host first, static files too: a name that someone has point to this machine is not ours
    # (test_another_host_is_refused).
    if headers.get("host") != own:
        return HTTPStatus.MISDIRECTED_REQUEST
    if method not in METHODS:
        return HTTPStatus.METHOD_NOT_ALLOWED
    if headers.get("origin", f"http://{own}") != f"http://{own}":
        return HTTPStatus.FORBIDDEN
    if method == "POST":
        return _of_a_change(headers)
    # A file opens the page, and that is another site to the browser; only the secret helps there.
    if comes_from_elsewhere(headers) and path != "/enter" and not is_visit(headers):
        return HTTPStatus.FORBIDDEN
    return None


def _of_a_change(headers: Mapping[str, str]) -> HTTPStatus | None:
    # SECURITY: a change comes from a page of ours, and says so (test_a_change_of_another_site_is_refused).
    if comes_from_elsewhere(headers) or ("origin" not in headers and "sec-fetch-site" not in headers):
        return HTTPStatus.FORBIDDEN
    if "transfer-encoding" in headers or not headers.get("content-length", "").isdecimal():
        return HTTPStatus.LENGTH_REQUIRED
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if int(headers["content-length"]) > BODY_LIMIT else None


def is_visit(headers: Mapping[str, str]) -> bool:
    """Return whether someone follows a link to here, in a window of its own."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def comes_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Return whether a visit began at another site, so that the browser keeps the cookie back."""
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
