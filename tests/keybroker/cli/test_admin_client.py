from __future__ import annotations

import json
import socket
import threading

import pytest

from keybroker.cli import admin_client
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import LOCAL, QUOTA, REFUSED, REMOTE, CommandError
from tests.keybroker.cli.canned_server import SECONDS, request, serving
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running


@pytest.fixture
def client(running: Running, monkeypatch: pytest.MonkeyPatch) -> AdminClient:
    for name, value in administrator(running).items():
        monkeypatch.setenv(name, value)
    return AdminClient(running.broker)


def test_lists_are_paged(client: AdminClient, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is read across all its pages, up to the wanted number of items."""
    for _ in range(5):
        running.token("3001")
    query = {"principal": running.sub("3001"), "kind": "token.issued"}
    whole = list(client.items("/admin/audit", query))
    assert len(whole) == 5
    monkeypatch.setattr(admin_client, "_PAGE", 2)
    assert list(client.items("/admin/audit", query)) == whole
    assert list(client.items("/admin/audit", query, 3)) == whole[:3]


def test_odd_ids_are_signed_as_sent(client: AdminClient) -> None:
    """Ids and values with reserved characters are signed in the form in which they are sent."""
    for odd in ("https://ci.example|a:b c/ä", "a+b&c=d%2F", "~-_."):
        assert list(client.items("/admin/audit", {"principal": odd})) == []
        with pytest.raises(CommandError, match="not_found"):
            client.get(f"/admin/principals/{segment(odd)}")


PROBLEM = "HTTP/1.1 {} X\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{}"


@pytest.mark.parametrize(
    ("status", "body", "code", "line"),
    [
        (400, {"title": "invalid_request", "detail": "no", "request_id": "r1"}, REFUSED, "invalid_request: no (request r1)"),
        (403, {"message": "Forbidden"}, REFUSED, "Forbidden"),
        (412, {"title": "policy_changed"}, REFUSED, "policy_changed"),
        (429, {"message": "Too Many Requests"}, QUOTA, "Too Many Requests"),
        (500, {}, REMOTE, "HTTP 500"),
        (503, {"title": "temporarily_unavailable", "detail": ""}, REMOTE, "temporarily_unavailable"),
        (422, {"errors": [{"file": "f", "line": 3, "field": "a.b", "found": "'x'", "allowed": "y"}]}, LOCAL, "f:3: a.b: found 'x', allowed: y"),
        (422, {"errors": [{"file": "f", "line": 3, "field": "", "text": "unwise", "rule": "covered"}]}, LOCAL, "f:3: file: unwise [--allow covered]"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("client")
def test_refusals_have_a_line_and_an_exit_code(status: int, body: dict[str, object], code: int, line: str) -> None:
    """Each kind of refusal has its message and its exit code."""
    text = json.dumps(body)
    with serving(PROBLEM.format(status, len(text), text).encode()) as server, pytest.raises(CommandError) as caught:
        AdminClient(server.url).get("/admin/keys")
    assert (caught.value.code, caught.value.lines[0]) == (code, line)


@pytest.mark.parametrize(
    ("method", "path", "query", "hint"),
    [
        ("GET", "/admin/keys", {}, "try again"),
        ("POST", "/admin/policy/plan", {}, "try again"),
        ("POST", "/admin/revocations", {"dry_run": True}, "try again"),
        ("POST", "/admin/keys/openai/mint", {}, "try again"),
        ("PUT", "/admin/keys/mint", {}, "may or may not be in force: look, or repeat it"),
        ("POST", "/admin/revocations", {}, "may or may not be in force: look, or repeat it"),
        ("PUT", "/admin/keys/openai", {}, "may or may not be in force: look, or repeat it"),
        ("DELETE", "/admin/revocations/r1", {}, "may or may not be in force: look, or repeat it"),
    ],
)
@pytest.mark.usefixtures("client")
def test_a_failed_change_is_not_called_off(method: str, path: str, query: dict[str, object], hint: str) -> None:
    """After a server's error a change is said to be possibly in force; of a call that only reads, nothing is said."""
    with serving(PROBLEM.format(503, 2, "{}").encode()) as server, pytest.raises(CommandError) as refused:
        AdminClient(server.url).call(method, path, query, {"a": 1})
    with serving(b"") as server, pytest.raises(CommandError) as lost:
        AdminClient(server.url).call(method, path, query, {"a": 1})
    assert refused.value.lines[1].endswith(hint)
    assert ("in force" in lost.value.lines[1]) is ("in force" in hint)


@pytest.mark.usefixtures("client")
def test_what_was_never_sent_is_not_called_uncertain() -> None:
    """Where nobody listens, nothing was asked of anybody."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(CommandError) as caught:
        AdminClient(url).call("POST", "/admin/revocations", {}, {"a": 1})
    assert caught.value.lines[1].endswith("and that the broker is running")


@pytest.mark.usefixtures("client")
def test_what_was_not_changed_is_not_called_uncertain() -> None:
    """Where the broker says itself that nothing was changed, such as of a key that its provider did not prove, that is all."""
    body = json.dumps({"title": "temporarily_unavailable", "detail": "the provider is silent, and nothing was changed"})
    with serving(PROBLEM.format(503, len(body), body).encode()) as server, pytest.raises(CommandError) as caught:
        AdminClient(server.url).call("PUT", "/admin/keys/openai", {}, {"a": 1})
    assert caught.value.lines[1].endswith(": try again")


@pytest.mark.parametrize("body", ["<html>", "", "[" * 100_000])
@pytest.mark.usefixtures("client")
def test_without_json_it_is_not_a_broker(body: str) -> None:
    """A response that is not JSON is reported as not coming from a broker."""
    with serving(PROBLEM.format(200, len(body), body).encode()) as server, pytest.raises(CommandError) as caught:
        AdminClient(server.url).get("/admin/keys")
    assert (caught.value.code, "not a Keybroker broker" in caught.value.lines[0]) == (REMOTE, True)


def test_a_lost_revocation_is_made_once(running: Running) -> None:
    """A revocation whose response was lost is repeated, and made only once."""
    with socket.create_server(("127.0.0.1", 0)) as relay:
        threading.Thread(target=_lose_the_first_answer, args=(relay, running.broker), daemon=True).start()
        environ = {**administrator(running), "KEYBROKER_URL": f"http://127.0.0.1:{relay.getsockname()[1]}"}
        done = run("revoke", "principal", running.sub("3002"), "--unseen", "--reason", "a test", environ=environ)
    assert (done.code, "no response; retrying" in done.err) == (0, True), done
    found = running.administer("GET", "/admin/revocations?scope=principal").json["items"]
    assert [one["id"] for one in found if one["target"] == running.sub("3002")] == [done.out.strip()]


def _lose_the_first_answer(relay: socket.socket, broker: str) -> None:
    host, _, port = broker.removeprefix("http://").partition(":")
    for number in range(2):
        connection, _ = relay.accept()
        with connection, socket.create_connection((host, int(port)), SECONDS) as upstream:
            upstream.sendall(request(connection))
            answer = request(upstream)
            if number:
                connection.sendall(answer)
