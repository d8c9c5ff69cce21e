"""A server that is told by its configuration file, for tests: how it starts, or does not, and calls at its doors."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests import certificates
from tests.local.test_machine import POLICY
from tests.running import ROOT

DOORS = ("broker", "edge", "administration")
ANY_PORT = "".join(f"[{door}]\nlisten = '127.0.0.1:0'\n" for door in DOORS)
STATE = "[state]\ndirectory = 'state'\n"
TLS = "[tls]\ncertificate = 'tls/certificate.pem'\nkey = 'tls/key.pem'\n"


@dataclass(frozen=True)
class Server:
    """A running server. said: its line of JSON."""

    said: Mapping[str, Any]
    process: subprocess.Popen[str]
    log: Path
    directory: Path

    def ask(
        self, door: str, method: str, path: str, headers: Mapping[str, str] | None = None, host: str = "127.0.0.1"
    ) -> http.client.HTTPResponse:
        """Make one call at a door, over TLS if that is what it has."""
        url = urlsplit(str(self.said[door]))
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=self.directory / "tls" / "certificate.pem")
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, url.port, timeout=10, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, url.port, timeout=10)
        with closing(connection):
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            answer.read()
        return answer

    def signed(self, host: str) -> dict[str, str]:
        """Return the headers of an administrator's request to read the policy, as signed for a host."""
        keys = json.loads((self.directory / "state" / "admin.json").read_text())
        request = AWSRequest("GET", f"https://{host}/admin/policy")
        signer = SigV4Auth(Credentials(keys["access_key_id"], keys["secret_access_key"]), "execute-api", "us-east-1")
        signer.add_auth(request)
        return {**dict(request.headers), "Host": host}


def write(directory: Path, text: str, policy: str = POLICY) -> list[str]:
    """Write configuration, policy and certificate; return the command that serves them."""
    (directory / "keybroker.yaml").write_text(policy)
    (directory / "keybroker.toml").write_text(text)
    certificates.write(directory / "tls")
    return [sys.executable, "-m", "local", "--installed", "serve", "--config", str(directory / "keybroker.toml")]


@contextlib.contextmanager
def served(
    directory: Path, text: str, *words: str, policy: str = POLICY, open_files: int | None = None
) -> Iterator[Server]:
    """Serve a configuration, and stop it again. open_files: the most that each process may have; None: as here."""
    limited = [] if open_files is None else ["sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh"]
    command = [*limited, *write(directory, text, policy), "--json", *words]
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        try:
            line = process.stdout.readline()
            assert line, (directory / "log").read_text()
            yield Server(json.loads(line), process, directory / "log", directory)
        finally:
            process.terminate()
            process.wait(timeout=30)


def refused(directory: Path, text: str, *words: str) -> str:
    """Return the one line of a start that is refused."""
    return only_line([*write(directory, text), *words])


def only_line(command: list[str]) -> str:
    """Run a start that is expected to give up by itself, in one line, and return that."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def token_of(server: Server) -> str:
    issuer, broker = (urlsplit(server.said[name]) for name in ("issuer", "broker"))
    claims = {"aud": "keybroker", "sub": "x", "repository_id": "1", "repository_owner_id": "9919", "repository": "o/r"}
    minted = _post(issuer.port, "/_mint", claims)["token"]
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    fields = {"grant_type": exchange, "subject_token": minted, "audience": "openai"}
    jwt = {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    return str(_post(broker.port, "/token", {**fields, **jwt})["access_token"])


def _post(port: int | None, path: str, body: Mapping[str, str]) -> Any:  # noqa: ANN401  whatever was answered
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
