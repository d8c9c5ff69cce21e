"""The probe of a deployed stage, by real TLS: over an installation whole, and over what a broker or an edge may answer."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chalicelib.admin.revocation_probe import NAME, RevocationProbe, Seen
from chalicelib.aws import edge_probe
from chalicelib.aws.edge_probe import ProbeConfig, embedded, run
from chalicelib.aws.edge_url import EdgeUrl
from chalicelib.aws.revocation_probes import DynamoKept, DynamoRevocationProbes
from chalicelib.errors import NotConfigured
from tests import aws_scenario, certificates
from tests.alarms import alarms, documents, rings
from tests.aws_installed import Installed, installation
from tests.aws_requests import iam_requests
from tests.cloudformation import ACCOUNT, REGION, resolved, template
from tests.contracts.samples import NOW
from tests.iam_policy import allows
from tests.infra.test_least_privilege import ARNS, policies

Answer = tuple[int, bytes]
Routes = Callable[[str, str, bytes, Mapping[str, str]], Answer]
"""What answers: method, path, body, headers."""
ROLE = {
    "accountId": "000000000000",
    "caller": "AROAEXAMPLEEXAMPLEEX2:keybroker-probe",
    "user": "AROAEXAMPLEEXAMPLEEX2:keybroker-probe",
    "userArn": "arn:aws:sts::000000000000:assumed-role/keybroker-probe/keybroker-probe",
}
GRANT = f"""\
  {NAME}:
    key: {NAME}
    to: {{aws: "arn:aws:iam::000000000000:role/keybroker-probe"}}
    scope: ["GET:/v1"]
    source_ips: [192.0.2.1/32]
    quota: {{tokens: 60/hour, calls: 10000/hour}}
"""
OPEN = {"error": {"code": "insufficient_scope", "message": "the grant does not admit your address (request r-1)"}}
REVOKED = {"error": {"code": "revoked", "message": "access is revoked (token) (request r-2)"}}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        named = {name.lower(): value for name, value in self.headers.items()}
        status, text = self.server.routes(self.command, self.path, body, named)
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815  http.server's name

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    routes: Routes

    def handle_error(self, *_arguments: object) -> None:
        """Pass over a caller that hung up, or that does not believe who we are."""


@contextmanager
def served(directory: Path, routes: Routes) -> Iterator[str]:
    """Serve by TLS; gives the URL."""
    files = certificates.write(directory / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.routes = routes
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"https://localhost:{server.server_address[1]}"
        finally:
            server.shutdown()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test's certificate believed, as any client does by this variable."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls" / "certificate.pem"))


class Kept:
    """Where results are kept."""

    where = "edge from us-east-1"

    def __init__(self, *, is_due: bool = True) -> None:
        self.found: list[RevocationProbe] = []
        self._is_due = is_due

    def begin(self, _now: int) -> bool:
        return self._is_due

    def keep(self, probe: RevocationProbe) -> None:
        self.found.append(probe)


def probed(url: str, kept: Any = None, edge: str = "") -> tuple[RevocationProbe, str]:  # noqa: ANN401  any `Kept`
    """Run once; return the result and what is printed."""
    where, printed = kept or Kept(), list[str]()
    config = ProbeConfig("us-east-1", "us-east-1", "keybroker", "keybroker-counters", url, edge or url)
    run(config, where, lambda _url, _body: {"content-type": "application/json"}, NOW, printed.append)
    return (where.found[0] if isinstance(where, Kept) else RevocationProbe("", 0, "", None, 0)), "".join(printed)


def answering(
    *edge: Answer, token: Answer = (200, b'{"access_token": "x.y.z"}'), revoked: Answer = (200, b"{}")
) -> Routes:
    """Answer the broker's routes, and calls one after the other; the last answer stays."""
    left = list(edge)

    def routes(_method: str, path: str, _body: bytes, _headers: Mapping[str, str]) -> Answer:
        if path in ("/token/iam", "/revoke"):
            return token if path == "/token/iam" else revoked
        return left.pop(0) if len(left) > 1 else left[0]

    return routes


def no(status: int, body: object) -> Answer:
    return status, json.dumps(body).encode()


def of_installation(one: Installed) -> Routes:
    """Answer as an installation's broker and edge do, with its functions and the edge's own."""
    public = one.caller("public", ROLE)

    def routes(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if method == "POST":
            answer = public.ask("POST", path, json.loads(body))
            return answer.status, answer.body
        event = aws_scenario.edge_event(headers["authorization"].removeprefix("Bearer "))
        request = event["Records"][0]["cf"]["request"]
        request |= {"method": "GET", "uri": path}
        request.pop("body", None)
        found = one.answer(event)
        assert "status" in found, "it was let through to a provider"
        return int(found["status"]), found["body"].encode()

    return routes


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
def test_an_installation_is_measured(tmp_path: Path) -> None:
    """By its role's own identity and the grant of the documentation: held, no call goes on to a provider, and it is kept."""
    with installation(tmp_path, "kbprobe") as one:
        administrator = one.administrator()
        text = aws_scenario.policy().replace("{openai: ", f"{{{NAME}: {{provider: openai}}, openai: ", 1) + GRANT
        tag = administrator.ask("GET", "/admin/policy").headers["etag"]
        answer = administrator.ask("PUT", "/admin/policy", {"text": text}, if_match=tag)
        assert answer.status == 200, answer.body
        asked = set[Any]()

        def note(params: Any, model: Any, **_: object) -> None:  # noqa: ANN401  botocore's
            asked.update(iam_requests("dynamodb", model.name, params))

        kept = DynamoKept(one.tables, "edge from us-east-1", edge_probe.EVERY)
        with served(tmp_path, of_installation(one)) as url:
            one.tables.client.meta.events.register("provide-client-params.dynamodb", note)
            try:
                _, printed = probed(url, kept)
            finally:
                one.tables.client.meta.events.unregister("provide-client-params.dynamodb", note)
        (found,) = DynamoRevocationProbes(one.tables).revocation_probes()
        assert found.outcome in ("held", "late"), printed  # a busy machine may take longer than AWS
        assert (found.where, found.open_after) == ("edge from us-east-1", 0)
        assert "eyJ" not in printed
        shown = administrator.ask("GET", "/admin/probes").json["items"]
        assert [one["where"] for one in shown] == ["edge from us-east-1"]
    assert asked
    for request in asked:
        assert allows(policies("probe"), request.action, ARNS["counters"], request.conditions()), request


@pytest.mark.usefixtures("trusted")
def test_a_revocation_that_holds_is_held(tmp_path: Path) -> None:
    """Open, revoked, three refusals: held; the metrics and a line say it, and neither has the token."""
    with served(tmp_path, answering(no(403, OPEN), no(403, OPEN), no(403, REVOKED))) as url:
        found, printed = probed(url)
    assert (found.outcome, found.open_after) == ("held", 1)
    (document,) = documents(printed)
    assert (document["RevocationsMeasured"], document["RevocationsLate"], document["service"]) == (1, 0, "keybroker")
    assert "x.y.z" not in printed


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("routes", "reason"),
    [
        (answering(no(403, OPEN), token=(403, b'{"error": "x"}')), "403"),
        (answering(no(403, OPEN), token=(200, b"<html>")), "JSONDecodeError"),
        (answering(no(403, OPEN), token=(200, b"{}")), "no token"),
        (answering(no(403, OPEN), revoked=(503, b"{}")), "503"),
        (answering((200, b"{}")), None),
        (answering(no(403, REVOKED)), None),
    ],
    ids=["no-token", "html", "empty", "not-revoked", "let-through", "revoked-before"],
)
def test_what_is_not_measured_is_unknown(tmp_path: Path, routes: Routes, reason: str | None) -> None:
    """Where there is no token, no revocation, or no open call before it, the result is unknown, and the line says why."""
    with served(tmp_path, routes) as url:
        found, printed = probed(url)
    assert (found.outcome, found.seconds) == ("unknown", None)
    assert json.loads(printed.splitlines()[-1]).get("reason") == reason
    assert documents(printed)[0]["RevocationsMeasured"] == 0


def test_a_stranger_at_the_edge_is_unknown(tmp_path: Path) -> None:
    """An edge whose certificate nobody vouches for is not sent the token, and its refusals are none."""
    met: list[str] = []

    def routes(_method: str, path: str, _body: bytes, _headers: Mapping[str, str]) -> Answer:
        met.append(path)
        return no(403, REVOKED)

    with served(tmp_path, routes) as url:
        assert EdgeUrl(url).call("x.y.z", "token") is Seen.UNKNOWN
    assert met == []


def test_another_run_s_turn_is_left_alone() -> None:
    """A run that is repeated, or beside another, measures and writes nothing."""
    printed: list[str] = []
    config = ProbeConfig(
        "us-east-1", "us-east-1", "keybroker", "counters", "https://localhost:1", "https://localhost:1"
    )
    run(config, Kept(is_due=False), lambda _url, _body: {}, NOW, printed.append)
    assert printed == []


EVERY = {"Enabled": "true", "Topic": "arn:topic", "Prefix": "keybroker"}


def results(*outcomes: str, start: int = NOW - NOW % 300) -> list[Mapping[str, Any]]:
    """Return what runs of five minutes each have written, the newest last."""
    return [
        json.loads(json.dumps(embedded(RevocationProbe("edge", start - 300 * back, outcome, 0.1, 0), "keybroker")))
        for back, outcome in zip(range(len(outcomes) - 1, -1, -1), outcomes, strict=True)
    ]


@pytest.mark.parametrize("outcome", ["late", "never"])
def test_a_late_revocation_rings(outcome: str) -> None:
    """One that took longer than is promised, or never held, rings at once; it is not silence."""
    assert rings(alarms("probe", **EVERY)["revocation-late"], results("held", outcome), NOW)
    assert not rings(alarms("probe", **EVERY)["revocation-probe-silent"], results("held", outcome), NOW)


def test_a_silent_probe_rings() -> None:
    """Nothing known for 15 minutes rings: no runs, or runs that could not tell; one that could is enough for silence."""
    alarm = alarms("probe", **EVERY)["revocation-probe-silent"]
    assert rings(alarm, [], NOW)
    assert rings(alarm, results("held", "unknown", "unknown", "unknown"), NOW)
    assert not rings(alarm, results("unknown", "held", "unknown"), NOW)
    assert not rings(alarms("probe", **EVERY)["revocation-late"], results("unknown", "held"), NOW)


def test_a_probe_elsewhere_is_the_home_region_s_caller() -> None:
    """In another region there is no role: the function has the home region's, by which the one grant knows it."""
    home, elsewhere = (dict(resolved(template("probe"), **EVERY, HomeRegion=one)) for one in ("", "us-west-2"))
    assert set(home) - set(elsewhere) == {"Role"}
    function = elsewhere["Function"]["Properties"]
    assert function["Role"] == f"arn:aws:iam::{ACCOUNT}:role/keybroker-probe"
    assert function["Environment"]["Variables"]["KEYBROKER_HOME_REGION"] == "us-west-2"
    assert home["Function"]["Properties"]["Environment"]["Variables"]["KEYBROKER_HOME_REGION"] == REGION
    trust = home["Role"]["Properties"]["AssumeRolePolicyDocument"]
    [condition] = [one["Condition"] for one in trust["Statement"]]
    assert condition["ArnLikeIfExists"]["aws:SourceArn"][0] == f"arn:aws:lambda:*:{ACCOUNT}:function:keybroker-probe"


def test_a_probe_elsewhere_signs_for_the_home_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's API and the tables are there; the place that a result names is the probe's own."""
    told = {"AWS_REGION": "ap-southeast-1", "KEYBROKER_HOME_REGION": "us-east-1", "KEYBROKER_DEPLOYMENT": "keybroker"}
    told |= {"KEYBROKER_COUNTERS": "counters", "KEYBROKER_URL": "https://b", "KEYBROKER_EDGE_URL": "https://e"}
    told |= {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "made-up"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    seen: dict[str, Any] = {}

    def instead(config: ProbeConfig, kept: DynamoKept, sign: edge_probe.Sign, *_: object) -> None:
        seen.update(place=kept.where, scope=sign("https://b/token/iam", b"{}")["Authorization"], region=config.region)

    monkeypatch.setattr(edge_probe, "run", instead)
    edge_probe.handler({}, None)
    assert seen["place"] == "edge from ap-southeast-1"
    assert "/us-east-1/execute-api/aws4_request" in seen["scope"]


def test_a_probe_that_is_off_costs_nothing() -> None:
    """Without a choice there are no alarms and nothing runs."""
    assert alarms("probe") == {}


@pytest.mark.parametrize(
    "name", ["KEYBROKER_URL", "KEYBROKER_EDGE_URL", "KEYBROKER_COUNTERS", "KEYBROKER_HOME_REGION", "AWS_REGION"]
)
def test_a_probe_without_its_configuration_says_so(name: str) -> None:
    """What is missing, or a URL without TLS, is said by the variable's name."""
    told = {f"KEYBROKER_{one}": "https://x" for one in ("HOME_REGION", "DEPLOYMENT", "COUNTERS", "URL", "EDGE_URL")}
    told["AWS_REGION"] = "us-east-1"
    assert ProbeConfig.read(told)
    for wrong in ("", "http://x") if name.endswith("URL") else ("",):
        with pytest.raises(NotConfigured) as fault:
            ProbeConfig.read({**told, name: wrong})
        assert fault.value.reason == "not_configured"
