"""The probe of one machine, over a server of its own and over what an edge may answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chalicelib.admin.revocation_probe import NAME, RevocationProbe, Seen
from local.revocation_probe import Edge, ProbeFile, RevocationProbing, Steps
from tests.parts import BROKER, NOW, Parts
from tests.refused import refused
from tests.running import start, wait_until


@contextmanager
def answering(answer: bytes) -> Iterator[Edge]:
    """Answer each connection with these bytes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            with closing(listening.accept()[0]) as one:
                one.settimeout(5)
                one.recv(65536)
                one.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield Edge(listening, is_tls=False)


def http(status: int, body: object) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(text), text)


def no(code: str, message: str) -> object:
    return {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (http(403, no("revoked", "access is revoked (principal)")), Seen.REVOKED),
        (http(403, no("revoked", "the grant is no longer there")), Seen.OPEN),
        (http(401, no("invalid_token", "the token was issued before a revocation (principal)")), Seen.REVOKED),
        (http(200, no("revoked", "access is revoked (principal)")), Seen.UNKNOWN),
        (http(403, no("insufficient_scope", "the grant does not admit your address (request r-1)")), Seen.OPEN),
        (http(403, no("insufficient_scope", "the grant does not cover it")), Seen.UNKNOWN),
        (http(429, no("rate_limited", "later")), Seen.UNKNOWN),
        (http(503, no("unavailable", "later")), Seen.UNKNOWN),
        (http(403, {"error": "revoked"}), Seen.UNKNOWN),
        (http(403, b"<html>"), Seen.UNKNOWN),
        (b"SSH-2.0-OpenSSH\r\n", Seen.UNKNOWN),
        (b"", Seen.UNKNOWN),
    ],
    ids=[
        "revoked",
        "open",
        "stale",
        "200",
        "address",
        "scope",
        "429",
        "503",
        "other-json",
        "html",
        "no-http",
        "nothing",
    ],
)
def test_only_a_refusal_is_one(answer: bytes, seen: Seen) -> None:
    """Only the edge's own words are taken for a refusal; everything else is not known."""
    with answering(answer) as own:
        assert own.call("x.y.z") is seen


def test_the_probe_s_token_opens_nothing(parts: Parts) -> None:
    """The token is refused at every key, also where it would be if its principal were not revoked."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        own = Edge(listening, is_tls=False)
    steps = Steps(own, parts.control, parts.signer, BROKER, NOW)
    token = steps._token

    def reason(key: str) -> str:
        return refused(lambda: parts.admit(token, key=key, path="/v1", method="GET")).reason

    assert (reason(NAME), reason("openai")) == ("grant_gone", "aud_wrong")
    steps.revoke()
    assert reason(NAME) == "revoked_principal"


@pytest.mark.slow
def test_a_server_measures_itself(tmp_path: Path) -> None:
    """A server with two workers measures that its revocations hold at once, shows it, and audits what it revoked."""
    with start("--workers", "2", "--revocation-probe", "5", directory=tmp_path) as running:
        wait_until(lambda: running.administer("GET", "/admin/probes").json["items"], 30)
        (found,) = running.administer("GET", "/admin/probes").json["items"]
        assert (found["outcome"], found["where"], found["open_after"]) == ("held", "this machine", 0)
        assert 0.0001 < found["seconds"] < 1, "a call takes time, which is in it"
        assert abs(found["at"] - time.time()) < 60
        events = running.administer("GET", "/admin/audit?kind=revocation.made").json["items"]
        assert {one["actor"] for one in events} == {"revocation-probe"}
        wait_until(lambda: running.administer("GET", "/admin/probes").json["items"][0]["at"] > found["at"], 30)
        assert running.administer("GET", "/admin/probes").json["items"][0]["outcome"] == "held"


def test_what_cannot_be_measured_is_unknown(parts: Parts, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the edge does not answer, the result is unknown, in the log as well, and no token is in it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        own = Edge(listening, is_tls=False)
    steps = Steps(own, parts.control, parts.signer, BROKER, NOW)
    file = ProbeFile(tmp_path / "probe.json")
    RevocationProbing(lambda _now: steps, file, 60).measure()
    (found,) = file.revocation_probes()
    assert (found.outcome, found.seconds) == ("unknown", None)
    assert '"outcome": "unknown"' in caplog.text
    assert steps._token not in caplog.text


def test_a_fault_ends_no_measuring(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of any kind is an unknown result; the log has its type and not its text, and the next measurement is made."""
    times: list[int] = []

    def make(now: int) -> Steps:
        times.append(now)
        raise LookupError("eyJ-a-token")

    file = ProbeFile(tmp_path / "probe.json")
    with RevocationProbing(make, file, 0.01).running():
        wait_until(lambda: len(times) > 1, 5)
    (found,) = file.revocation_probes()
    assert (found.outcome, found.seconds) == ("unknown", None)
    assert '"reason": "LookupError"' in caplog.text
    assert "eyJ" not in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"where": 1}'])
def test_a_file_that_is_no_use_is_no_result(tmp_path: Path, text: str) -> None:
    """A file that cannot be read holds no result, and is replaced by the next one."""
    path = tmp_path / "probe.json"
    path.write_text(text)
    path.chmod(0o600)
    assert ProbeFile(path).revocation_probes() == ()
    ProbeFile(path).keep(RevocationProbe("here", NOW, "held", 0.1, 0))
    assert len(ProbeFile(path).revocation_probes()) == 1
