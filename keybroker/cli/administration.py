"""Calls of the broker's administration (docs/admin.md), signed with AWS Signature Version 4."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from keybroker import aws, bounded_http
from keybroker.bounded_http import Answer
from keybroker.cli import output
from keybroker.cli.failure import LOCAL, QUOTA, REFUSED, REMOTE, Failure
from keybroker.errors import Unreachable

_SECONDS = 30.0
"""API Gateway itself waits no longer than 29."""
_LIMIT = 16 * 1024 * 1024
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Administration:
    """What answers under `url` + `/admin/…`."""

    url: str

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  whatever JSON is answered
        """Return what is answered; raises Failure."""
        return self.call("GET", path, query).body

    def items(self, path: str, query: Mapping[str, object], most: int | None = None) -> Iterator[Any]:
        """Yield a list's items from all its pages, `most` of them at most; raises Failure."""
        asked, left = dict(query), most
        while left is None or left > 0:
            page = self.get(path, {**asked, "limit": _PAGE if left is None else min(left, _PAGE)})
            yield from page["items"][:left]
            left = None if left is None else left - len(page["items"])
            if page["next"] is None:
                return
            asked["after"] = page["next"]

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Said:
        """Make one call. query: what is None or False is left out. body: sent as JSON. Raises Failure."""
        data = b"" if body is None else json.dumps(body).encode()
        url = f"{self.url}{path}{_query(query or {})}"
        named = {"accept": "application/json", **(headers or {})}
        if data:
            named["content-type"] = "application/json"
        try:
            signed = aws.sign(method, url, named, data)
            with output.waiting(f"waiting for {self.url}"):
                answer = bounded_http.call(method, url, data, signed, _SECONDS, _LIMIT)
        except Unreachable as fault:
            hint = "is the address right (--admin-url, KEYBROKER_ADMIN_URL), and the broker up?"
            raise Failure(REMOTE, str(fault), hint) from None
        return _said(answer, self.url)


@dataclass(frozen=True, slots=True)
class Said:
    """What a call was answered with. etag: the policy's version in quotes, or ""."""

    body: Any
    etag: str


def segment(text: str) -> str:
    """Return an id as one segment of a path."""
    return quote(text, safe="")


def _query(pairs: Mapping[str, object]) -> str:
    """Return `?a=b&…`, sorted and encoded as a signature has it: sent in that very form, it has one reading."""
    said = {
        name: "true" if value is True else str(value) for name, value in pairs.items() if value not in (None, False)
    }
    text = "&".join(f"{quote(name, safe='-_.~')}={quote(said[name], safe='-_.~')}" for name in sorted(said))
    return f"?{text}" if text else ""


def _said(answer: Answer, url: str) -> Said:
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise Failure(REMOTE, f"{url} answered HTTP {answer.status} without JSON: no broker is there") from None
    if answer.status in (200, 201):
        return Said(body, answer.headers.get("etag", ""))
    raise _refusal(answer.status, body if isinstance(body, dict) else {}, url)


def _refusal(status: int, problem: Mapping[str, Any], url: str) -> Failure:
    """Return the failure for problem+json (RFC 9457), or for API Gateway's own `{"message": …}`."""
    if isinstance(problem.get("errors"), list):
        return Failure(LOCAL, *(_fault(one) for one in problem["errors"]))
    what = str(problem.get("title") or problem.get("message") or f"HTTP {status}")
    why = f": {problem['detail']}" if problem.get("detail") else ""
    request = f" (request {problem['request_id']})" if problem.get("request_id") else ""
    said = f"{what}{why}{request}"
    if status == 403:
        return Failure(
            REFUSED, said, "who signs here? (aws sts get-caller-identity) they must be allowed to call this route"
        )
    if status == 429:
        return Failure(QUOTA, said)
    if status >= 500:
        return Failure(REMOTE, said, f"{url} is ill: nothing was changed; send it again")
    return Failure(REFUSED, said)


def _fault(error: Mapping[str, Any]) -> str:
    place = f"{error.get('file', '')}:{error.get('line', '')}: {error.get('field') or 'file'}"
    text = error.get("text") or f"found {error.get('found')}, allowed: {error.get('allowed')}"
    rule = f" [--allow {error['rule']}]" if "rule" in error else ""
    return f"{place}: {text}{rule}"
