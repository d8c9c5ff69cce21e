"""Each source of identity, under its real variables, with a real server, tool or file behind it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import id as others
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybroker import IdentityError, NoIdentity, find_identity
from keybroker.ambient import Identity
from keybroker.sources import command, gitlab, google, kubernetes
from keybroker.sources.identity_request import LIMIT, IdentityRequest, check_token
from tests.running import Running
from tests.scripted_broker import bare_surroundings, jwt

TOKEN = jwt(aud="keybroker", iss="https://issuer.example.com")


@dataclass
class Site:
    """A server that answers every GET alike, and keeps what it was asked. down: so many it answers with 503 first."""

    url: str
    status: int = 200
    body: str = TOKEN
    down: int = 0
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            one.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(503 if len(one.asked) <= one.down else one.status)
            self.end_headers()
            self.wfile.write(one.body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        one = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield one
        server.shutdown()
        thread.join(10)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    bare_surroundings(monkeypatch)


def tool(folder: Path, name: str, script: str) -> dict[str, str]:
    """Write a CI's tool, which keeps its arguments in the file `arguments`; return the environment with it."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/arguments\n{script}\n')
    path.chmod(0o700)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


# The token in a file or a variable


def test_a_token_file_is_read_each_time(tmp_path: Path) -> None:
    """A token file is read anew each time."""
    file = tmp_path / "token"
    for token in (jwt(jti="1"), jwt(jti="2")):
        file.write_text(f"{token}\n")
        found = find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": str(file)})
        assert found == Identity("token-file", token)


def test_a_token_variable_is_stripped() -> None:
    """A token in a variable is taken without surrounding white space."""
    assert find_identity(environ={"KEYBROKER_ID_TOKEN": f" {TOKEN}\n"}) == Identity("environment", TOKEN)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"not a token", "is not an identity token"),
        (b"a.b", "is not an identity token"),
        (b"a.b.c.d", "is not an identity token"),
        (b"a.b.c d", "is not an identity token"),
        (b"\xff\xfe.b.c", "is not an identity token"),
        (b"a." + b"b" * LIMIT + b".c", "at most 16384"),
    ],
)
def test_a_bad_token_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """A token file without a token is an error that names it, and does not quote it."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(IdentityError, match=said) as caught:
        find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": str(file)})
    assert str(file) in str(caught.value)
    assert "not a token" not in str(caught.value)


def test_a_missing_token_file_is_an_error(tmp_path: Path) -> None:
    """A token file that does not exist is an error, and not the next source."""
    environ = {"KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "none"), "GITLAB_CI": "true"}
    with pytest.raises(IdentityError, match=r"cannot be read: No such file.*(.*\n)*.*KEYBROKER_IDENTITY"):
        find_identity(environ=environ)


@pytest.mark.parametrize("name", ["KEYBROKER_ID_TOKEN", "KEYBROKER_ID_TOKEN_FILE"])
def test_an_empty_variable_is_an_error(name: str) -> None:
    """A variable that is set but empty is an error."""
    with pytest.raises(IdentityError, match=f"{name}.*empty"):
        find_identity(environ={name: ""})


def test_a_file_and_a_variable_are_an_error(tmp_path: Path) -> None:
    """A token file and a token variable at once are an error."""
    (tmp_path / "token").write_text(TOKEN)
    both = {"KEYBROKER_ID_TOKEN": TOKEN, "KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "token")}
    with pytest.raises(IdentityError, match="both set"):
        find_identity(environ=both)


def test_an_endless_token_file_is_bounded() -> None:
    """A token file is read no further than a token may be long."""
    with pytest.raises(IdentityError, match=r"at most|is not an identity token"):
        find_identity(environ={"KEYBROKER_ID_TOKEN_FILE": "/dev/zero"})


@given(text=st.text())
def test_a_non_token_is_never_quoted(text: str) -> None:
    """A text that is not a token is refused without being quoted."""
    try:
        token = check_token(text, "the source")
    except IdentityError as fault:
        assert len(text.strip()) < 3 or text.strip() not in str(fault)  # noqa: PT017  both outcomes are tested
    else:
        assert token.count(".") == 2
        assert token == text.strip()


# GitHub Actions


def github(url: str, token: str = "request-token") -> dict[str, str]:  # noqa: S107  made up
    return {"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token}


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


@pytest.mark.parametrize("name", ["github", "google"])
def test_a_runner_is_asked_twice_at_most(site: Site, name: str) -> None:
    """A runner or metadata server may fail once, and not twice."""
    site.body = json.dumps({"value": TOKEN}) if name == "github" else TOKEN
    metadata = {"GCE_METADATA_HOST": site.url.removeprefix("http://")}
    environ = github(f"{site.url}/token?a=b") if name == "github" else metadata
    site.down = 1
    assert find_identity(environ=environ).unverified_subject_token == TOKEN
    assert len(site.asked) == 2
    site.down = 4
    with pytest.raises(IdentityError, match="HTTP 503"):
        find_identity(environ=environ)
    assert len(site.asked) == 4


def test_the_request_token_needs_https() -> None:
    """The runner's request token crosses no network in the clear."""
    with pytest.raises(IdentityError, match="https://"):
        find_identity(environ=github("http://runner.example.com/token?a=b"))


# GitLab


def test_gitlabs_variable_has_the_audiences_name() -> None:
    """GitLab's token is in the variable that the audience names."""
    environ = {"GITLAB_CI": "true", "HTTPS___BROKER_EXAMPLE_ID_TOKEN": TOKEN}
    assert find_identity("https://broker.example", environ) == Identity("gitlab", TOKEN)
    assert find_identity(environ={"GITLAB_CI": "true", "KEYBROKER_ID_TOKEN": TOKEN}) == Identity("gitlab", TOKEN)


def test_a_gitlab_job_is_told_its_lines() -> None:
    """A GitLab job without a token is told the lines to add."""
    with pytest.raises(IdentityError, match=r"  id_tokens:\n    MY_BROKER_ID_TOKEN:\n      aud: my-broker"):
        find_identity("my-broker", {"GITLAB_CI": "true"})


@given(audience=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_gitlabs_variable_is_as_others_expect(audience: str) -> None:
    """GitLab's variable has the name that other tools expect."""
    name = gitlab.variable_name(audience)
    token = jwt(aud=audience)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITLAB_CI", "true")
        patch.setenv(name, token)
        assert others.detect_credential(audience) == token


# CircleCI and Buildkite


def test_circleci_is_asked_for_our_audience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CircleCI's tool is asked for our audience."""
    environ = {"CIRCLECI": "true", **tool(tmp_path, "circleci", f"echo {TOKEN}")}
    assert find_identity("keybroker", environ) == Identity("circleci", TOKEN)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[:4] == ["run", "oidc", "get", "--claims"]
    assert json.loads(arguments[4]) == {"aud": "keybroker"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert others.detect_credential("keybroker") == TOKEN  # theirs asks the root issuer, which has no organisation
    assert (tmp_path / "arguments").read_text().splitlines() == [*arguments, "--root-issuer"]


def test_buildkite_is_asked_for_our_audience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buildkite's agent is asked for our audience."""
    environ = {"BUILDKITE": "true", **tool(tmp_path, "buildkite-agent", f"echo {TOKEN}")}
    assert find_identity("keybroker", environ) == Identity("buildkite", TOKEN)
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.splitlines() == ["oidc", "request-token", "--audience", "keybroker"]
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert others.detect_credential("keybroker") == TOKEN
    assert (tmp_path / "arguments").read_text() == arguments


def test_a_missing_tool_is_an_error(tmp_path: Path) -> None:
    """A CI tool that is not on PATH is an error."""
    with pytest.raises(IdentityError, match="buildkite-agent is not on PATH"):
        find_identity(environ={"BUILDKITE": "true", "PATH": str(tmp_path)})


def test_a_tool_that_fails_is_quoted_by_its_stderr_alone(tmp_path: Path) -> None:
    """A failing tool is quoted by its stderr, never by its stdout."""
    script = f"echo {TOKEN}; echo no OIDC for this job >&2; exit 3"
    with pytest.raises(IdentityError, match="exit code 3: no OIDC for this job") as caught:
        find_identity(environ={"BUILDKITE": "true", **tool(tmp_path, "buildkite-agent", script)})
    assert TOKEN.split(".")[1] not in str(caught.value)


def test_a_tool_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that hangs is stopped, and what it printed is not kept."""
    monkeypatch.setattr(command, "TIMEOUT", 0.3)
    script = f"echo {TOKEN}; exec sleep 60"
    with pytest.raises(IdentityError, match="issued no identity token within") as caught:
        find_identity(environ={"CIRCLECI": "true", **tool(tmp_path, "circleci", script)})
    assert caught.value.__cause__.__cause__ is None  # type: ignore[union-attr]  # what it printed is not kept


def test_a_broken_tool_is_an_error(tmp_path: Path) -> None:
    """A tool that cannot be started is an error."""
    environ = tool(tmp_path, "circleci", "")
    (tmp_path / "circleci").write_text("#!/nonexistent\n")
    with pytest.raises(IdentityError, match="cannot be started"):
        find_identity(environ={"CIRCLECI": "true", **environ})


# Google


def test_google_is_asked_for_our_audience(site: Site) -> None:
    """Google's metadata server is asked for our audience."""
    found = find_identity("keybroker", {"GCE_METADATA_HOST": site.url.removeprefix("http://")})
    assert found == Identity("google", TOKEN)
    ((path, headers),) = site.asked
    assert urlsplit(path).path == "/computeMetadata/v1/instance/service-accounts/default/identity"
    assert parse_qs(urlsplit(path).query) == {"audience": ["keybroker"], "format": ["full"]}
    assert headers["metadata-flavor"] == "Google"


def test_google_needs_a_service_account(site: Site) -> None:
    """Google Cloud without a service account is an error that says so."""
    site.status = 404
    with pytest.raises(IdentityError, match=r"HTTP 404.*attach a service account"):
        find_identity(environ={"GCE_METADATA_HOST": site.url.removeprefix("http://")})


def test_an_absent_metadata_server_is_an_error() -> None:
    """A metadata server that cannot be reached is an error."""
    with pytest.raises(IdentityError, match=r"metadata server issued no identity token.*cannot reach"):
        find_identity(environ={"GCE_METADATA_HOST": "127.0.0.1:1", "K_SERVICE": "job"})


@pytest.mark.parametrize(
    ("name", "there"), [("Google Compute Engine\n", True), ("Google", True), ("Standard PC", False)]
)
def test_google_is_known_by_its_product_name(tmp_path: Path, name: str, there: bool) -> None:  # noqa: FBT001  a table's column
    """A Google machine is recognised by its product name."""
    (tmp_path / "product").write_text(name)
    assert google._is_google(str(tmp_path / "product")) is there
    assert google._is_google(str(tmp_path / "none")) is False


# Kubernetes


def test_a_projected_token_is_read_each_time(tmp_path: Path) -> None:
    """A projected token is found in a pod, and read anew each time."""
    wanted = IdentityRequest("keybroker", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    file = tmp_path / "token"
    assert kubernetes.find(wanted, str(file)) is None
    for token in (jwt(jti="1"), jwt(jti="2")):
        file.write_text(token)
        assert kubernetes.find(wanted, str(file)) == token
    assert kubernetes.find(IdentityRequest("keybroker", {}), str(file)) is None
    file.write_text("")
    with pytest.raises(IdentityError, match=r"the projected token .* is empty"):
        kubernetes.find(wanted, str(file))


def test_the_pods_own_token_for_the_cluster_is_never_sent() -> None:
    """The pod's own token for the cluster is never sent."""
    assert "kubernetes.io" not in kubernetes.PATH
    with pytest.raises(NoIdentity):
        find_identity(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
