from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import id as others
import pytest

from keybroker import IdentityError, find_identity
from keybroker.ambient import Identity
from tests.keybroker.sources.stand_ins import TOKEN, Site, github
from tests.running import Running


def test_github_is_asked_as_its_runners_expect(site: Site) -> None:
    """GitHub's runner gets the audience and its request token."""
    site.body = json.dumps({"count": 1, "value": TOKEN})
    found = find_identity("https://a b&c", github(f"{site.url}/token?api-version=2.0"))
    assert found == Identity("github-actions", TOKEN)
    ((path, headers),) = site.asked
    assert parse_qs(urlsplit(path).query) == {"api-version": ["2.0"], "audience": ["https://a b&c"]}
    assert headers["authorization"] == "bearer request-token"


def test_github_gives_other_tools_the_same(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub's runner gives us what another tool gets."""
    environ = github(f"{running.issuer}/_runner/token?api-version=2.0", running.request_token)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    ours, theirs = find_identity("keybroker").unverified_subject_token, others.detect_credential("keybroker")
    assert theirs is not None
    assert ours.split(".")[0] == theirs.split(".")[0]
    for token in (ours, theirs):
        assert running.exchange(token).status == 200


@pytest.mark.parametrize("missing", ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_github_job_is_told_its_permission(missing: str, value: str | None) -> None:
    """A GitHub job without the permission is told the lines to add."""
    environ = github("http://127.0.0.1:1/token?a=b")
    environ.pop(missing)
    if value is not None:
        environ[missing] = value
    with pytest.raises(
        IdentityError, match=rf"{missing} is not set(.*\n)+  permissions:\n    id-token: write"
    ) as caught:
        find_identity(environ=environ)
    assert "fork" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, "", "HTTP 403.*id-token: write"),
        (200, "<html>", "has no identity token"),
        (200, "[]", "has no identity token"),
        (200, "{}", "has no identity token"),
        (200, '{"value": 7}', "has no identity token"),
        (200, '{"value": ""}', "is empty"),
        (302, "", "HTTP 302"),
    ],
)
def test_a_github_response_without_token_fails(site: Site, status: int, body: str, said: str) -> None:
    """A runner's response without a token is an error that does not quote the request token."""
    site.status, site.body = status, body
    with pytest.raises(IdentityError, match=f"(?s){said}") as caught:
        find_identity(environ=github(f"{site.url}/token?a=b"))
    assert "request-token" not in str(caught.value)


def test_the_request_token_needs_https() -> None:
    """The runner's request token crosses no network in the clear."""
    with pytest.raises(IdentityError, match="https://"):
        find_identity(environ=github("http://runner.example.com/token?a=b"))
