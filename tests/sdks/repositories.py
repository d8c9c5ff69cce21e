"""GitHub's and GitLab's APIs to practise on: names with encoded separators, and pages with links to the API's own address.

Each takes its own key and no other, so that a request which went past the edge, with a token of ours, is refused and told.
Source of the forms: https://docs.github.com/en/rest and https://docs.gitlab.com/api, and what octokit, PyGithub and
python-gitlab parse. As GitHub does, the links name a repository by its number.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

KEYS = {"github": "practice-real-github", "gitlab": "practice-real-gitlab"}
PAGES = 3
SHA = "1" * 40
_PROJECT: dict[str, Any] = {"id": 17, "path_with_namespace": "group/app"}
_ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/repos/octo/app/git/ref/heads/main"): {
        "ref": "refs/heads/main",
        "object": {"sha": SHA, "type": "commit"},
    },
    ("GET", "/repos/octo/app/contents/docs/a.md"): {
        "type": "file",
        "path": "docs/a.md",
        "encoding": "base64",
        "content": base64.b64encode(b"hello").decode(),
    },
    ("GET", "/repos/octo/app/branches/feature/x"): {"name": "feature/x", "commit": {"sha": SHA}, "protected": False},
    ("DELETE", "/repos/octo/app/issues/1/labels/kind: bug"): [],
    ("GET", "/api/v4/projects/group/app"): _PROJECT,
}
_LISTS = {
    "/repos/octo/app/issues": "/repositories/17/issues",
    "/repositories/17/issues": "/repositories/17/issues",
    "/api/v4/projects/17/issues": "/api/v4/projects/17/issues",
}
"""Lists, and where their next page is."""


@dataclass(slots=True)
class Repositories:
    """Both APIs. seen: each request's method and path, as it came. foreign: those that had another key."""

    seen: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def app(self) -> web.Application:
        """Return what is to be served."""
        app = web.Application()
        app.router.add_route("*", "/{anything:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0]
        self.seen.append(f"{request.method} {path}")
        gitlab = path.startswith("/api/v4")
        key = request.headers.get("private-token") if gitlab else request.headers.get("authorization")
        if key != (KEYS["gitlab"] if gitlab else f"Bearer {KEYS['github']}"):
            self.foreign.append(f"{request.method} {request.url.host}{path}")
            return web.json_response({"message": "Bad credentials"}, status=401)
        if request.method == "GET" and path in _LISTS:
            return self._page(request, _LISTS[path])
        found = _ANSWERS.get((request.method, unquote(path)))
        if found is None:
            return web.json_response({"message": "Not Found"}, status=404)
        return web.json_response(found)

    def _page(self, request: web.Request, more: str) -> web.Response:
        page = int(request.query.get("page", "1"))
        here = f"{request.scheme}://{request.host}{more}"
        links = [(page + 1, "next"), (PAGES, "last")] if page < PAGES else [(1, "first")]
        link = ", ".join(f'<{here}?per_page=1&page={number}>; rel="{name}"' for number, name in links)
        return web.json_response([{"id": page, "iid": page, "number": page}], headers={"Link": link})
