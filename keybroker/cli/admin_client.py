"""Calls to the broker's administration API (docs/admin.md), signed with AWS Signature Version 4."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from keybroker import aws, http_client, unix_socket
from keybroker.cli import kept_refusal, output
from keybroker.cli.command_error import LOCAL, QUOTA, REFUSED, REMOTE, CommandError
from keybroker.errors import Unreachable
from keybroker.http_client import Response

_TIMEOUT = 30.0
"""Seconds; API Gateway itself waits no longer than 29."""
_RESPONSE_LIMIT = 16 * 1024 * 1024
_PAGE = 200
_TRIAL = re.compile(r"/admin/keys/[^/]+/mint")
_UNCERTAIN = "what was asked may or may not be in force: look, or repeat it"
_UNCHANGED = "nothing was changed"
"""What a broker says that knows it."""


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A successful response. body: its JSON. etag: the policy's version in quotes, or ""."""

    body: Any
    etag: str


@dataclass(frozen=True, slots=True)
class AdminClient:
    """The administration API under `url` + `/admin/…`, or at the socket `unix:PATH`."""

    url: str
    timeout: float = _TIMEOUT
    """Seconds for a call."""

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  any JSON
        """Return the body of a GET; raises CommandError."""
        return self.call("GET", path, query).body

    def items(self, path: str, query: Mapping[str, object], most: int | None = None) -> Iterator[Any]:
        """Yield a list's items from all its pages, `most` of them at most; raises CommandError."""
        page_query, left = dict(query), most
        while left is None or left > 0:
            page = self.get(path, {**page_query, "limit": _PAGE if left is None else min(left, _PAGE)})
            for one in page.get("unknown", ()):
                output.message(f"warning: there never was a {one} {query[one]!r}")
            yield from page["items"][:left]
            left = None if left is None else left - len(page["items"])
            if page["next"] is None:
                return
            page_query["after"] = page["next"]

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> ApiResponse:
        """Make one call. query: values that are None or False are left out. body: sent as JSON. Raises CommandError."""
        data = b"" if body is None else json.dumps(body).encode()
        through = unix_socket.path_of(self.url)
        url = f"{unix_socket.BASE if through else self.url}{path}{_query_string(query or {})}"
        unsigned = {"accept": "application/json", **(headers or {})}
        if data:
            unsigned["content-type"] = "application/json"
        try:
            signed = aws.sign(method, url, unsigned, data)
            with output.waiting(f"waiting for {self.url}"):
                response = http_client.call(method, url, data, signed, self.timeout, _RESPONSE_LIMIT, through)
        except Unreachable as error:
            hint = "check the address (--admin-url, KEYBROKER_ADMIN_URL) and that the broker is running"
            changes = _may_change(method, path, query or {}) and not _was_refused(error)
            after = f"; if it got the request, {_UNCERTAIN}" if changes else ""
            raise CommandError(REMOTE, str(error), hint + after) from None
        parsed = _parse(response, self.url, may_change=_may_change(method, path, query or {}))
        if _may_change(method, path, query or {}):
            kept_refusal.forget_all()  # what was opened here is tried here at once
        return parsed


def _was_refused(error: Unreachable) -> bool:
    """Whether there was no connection, so that nothing was sent."""
    return isinstance(error.__cause__, ConnectionRefusedError)


def _may_change(method: str, path: str, query: Mapping[str, object]) -> bool:
    """Whether a call changes anything if it succeeds. A credential on trial is kept by nobody."""
    reads = method == "GET" or path.startswith("/admin/policy/") or bool(_TRIAL.fullmatch(path))
    return not reads and not query.get("dry_run")


def segment(text: str) -> str:
    """Return an id as one segment of a path."""
    return quote(text, safe="")


def _query_string(pairs: Mapping[str, object]) -> str:
    """Return `?a=b&…`, sorted and encoded as SigV4 canonicalises it, so that both ends read it the same way."""
    values = {
        name: "true" if value is True else str(value) for name, value in pairs.items() if value not in (None, False)
    }
    text = "&".join(f"{quote(name, safe='-_.~')}={quote(values[name], safe='-_.~')}" for name in sorted(values))
    return f"?{text}" if text else ""


def _parse(response: Response, url: str, *, may_change: bool) -> ApiResponse:
    try:
        body = json.loads(response.body)
    except (ValueError, RecursionError):
        text = f"{url} returned HTTP {response.status} without JSON: not a Keybroker broker"
        raise CommandError(REMOTE, text) from None
    if response.status in (200, 201):
        return ApiResponse(body, response.headers.get("etag", ""))
    raise _from_problem(response.status, body if isinstance(body, dict) else {}, url, may_change=may_change)


def _from_problem(status: int, problem: Mapping[str, Any], url: str, *, may_change: bool) -> CommandError:
    """Return the error for problem+json (RFC 9457), or for API Gateway's own `{"message": …}`."""
    if isinstance(problem.get("errors"), list):
        return CommandError(LOCAL, *(_policy_error(error) for error in problem["errors"]))
    title = str(problem.get("title") or problem.get("message") or f"HTTP {status}")
    detail = f": {problem['detail']}" if problem.get("detail") else ""
    request = f" (request {problem['request_id']})" if problem.get("request_id") else ""
    text = f"{title}{detail}{request}"
    if status == 403:
        hint = "check which AWS identity signs (aws sts get-caller-identity); it must be allowed to call this route"
        return CommandError(REFUSED, text, hint)
    if status == 429:
        return CommandError(QUOTA, text)
    if status >= 500:
        # SECURITY: a server that failed after its commit has changed something (test_a_failed_change_is_not_called_off).
        uncertain = may_change and _UNCHANGED not in detail
        return CommandError(REMOTE, text, f"server error at {url}: {_UNCERTAIN if uncertain else 'try again'}")
    return CommandError(REFUSED, text, refusal=title)


def _policy_error(error: Mapping[str, Any]) -> str:
    location = f"{error.get('file', '')}:{error.get('line', '')}: {error.get('field') or 'file'}"
    text = error.get("text") or f"found {error.get('found')}, allowed: {error.get('allowed')}"
    rule = f" [--allow {error['rule']}]" if "rule" in error else ""
    return f"{location}: {text}{rule}"
