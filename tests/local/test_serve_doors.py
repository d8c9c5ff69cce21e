"""Whatever a request says: the doors of a server name their own URLs, and administration is at its own door alone."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.local.configured_server import ANY_PORT, DOORS, STATE, Server, served

pytestmark = pytest.mark.slow  # it starts all processes of one machine

EVIL = "evil.example"
NAMING = (
    {"Host": EVIL},
    {"X-Forwarded-Host": EVIL, "X-Forwarded-Port": "81", "X-Forwarded-Prefix": "/evil.example"},
    {"Forwarded": f"host={EVIL};proto=http", "X-Host": EVIL, "X-Original-Host": EVIL},
    {"X-Original-URL": f"/admin/policy?{EVIL}", "X-Rewrite-URL": f"/admin/policy?{EVIL}"},
)
"""Headers by which some servers choose the URL that they speak of, or that they serve."""
PAST = (
    "/admin/policy",
    "//admin/policy",
    "/./admin/policy",
    "/%61dmin/policy",
    "/Admin/policy",
    "/openai/../admin/policy",
    "/openai/%2e%2e/admin/policy",
    "/anthropic/v1/oauth/token/../../../../admin/policy",
    "/anthropic/v1/oauth/token/%2e%2e/%2e%2e/%2e%2e/%2e%2e/admin/policy",
    "/anthropic/v1/oauth/token;/../../admin/policy",
    "/anthropic/v1/oauth/token?/admin/policy",
    "/token/../admin/policy",
    "/token/iam/../../admin/policy",
)
"""Ways to administration by way of another door."""


def test_no_header_names_our_urls_and_no_path_leads_to_administration(tmp_path: Path) -> None:
    """Documents name the configured URLs whatever a request says, also through a trusted proxy; other doors have no `/admin`."""
    text = f"policy = 'keybroker.yaml'\ntrusted_proxies = ['127.0.0.1']\n{ANY_PORT}{STATE}"
    documents = [
        *(
            ("broker", path)
            for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
        ),
        ("edge", "/.well-known/oauth-protected-resource"),
        ("edge", "/openai/v1/models"),
    ]
    with served(tmp_path, text) as server:
        for door, path in documents:
            plain = _shown(server, door, path, {})
            assert "http://127.0.0.1:" in plain
            assert [_shown(server, door, path, headers) for headers in NAMING] == [plain] * len(NAMING)
        for door in DOORS[:2]:
            for host in (urlsplit(server.said[one]).netloc for one in DOORS):
                headers = {**server.signed(host), "X-Forwarded-Host": urlsplit(server.said["administration"]).netloc}
                statuses = {path: server.ask(door, "GET", path, headers).status for path in PAST}
                assert not [path for path, status in statuses.items() if not 400 <= status < 500], statuses
        assert server.ask("administration", "GET", "/admin/policy", server.signed(host)).status == 200


def _shown(server: Server, door: str, path: str, headers: Mapping[str, str]) -> str:
    """Return a document, or where a refusal says that a token is got."""
    url = urlsplit(str(server.said[door]))
    with closing(http.client.HTTPConnection("127.0.0.1", url.port, timeout=10)) as connection:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read().decode()
        return answer.headers["WWW-Authenticate"] if answer.status == 401 else body
