"""A gateway in processes of its own, over moto's tables behind a door: what it admits, what it refuses, how it ends."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chalicelib.aws import clients
from chalicelib.budget import BudgetLimit, BudgetUse
from chalicelib.quota import Limit
from chalicelib.usage import ModelUse, UsageQuery, window_start
from local.configuration import TlsFiles
from tests import certificates
from tests.contracts import samples
from tests.contracts.samples import ISSUER
from tests.contracts.verbs import Keys
from tests.faulty_dynamodb import Door, door, hangs, tables_behind
from tests.gateway_stage import MANY, SECRET, VERSION, Gateway, GatewayStage, Provider, gateway, provider
from tests.running import Answer, call, wait_until

pytestmark = pytest.mark.slow  # each gateway takes a second to start

BOUND = 8.0
"""Seconds within which every call is answered; the product's own bound is 6."""


@dataclass
class Here:
    """door: to the tables. stage: what is behind it. provider: where calls go. gateway: what they go through."""

    door: Door
    stage: GatewayStage
    provider: Provider
    directory: Path
    gateway: Gateway


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    directory = tmp_path_factory.mktemp("gateway")
    with door() as opened, tables_behind(opened) as tables, provider() as origin:
        name = tables.control.removesuffix("-control")
        stage = GatewayStage(str(opened.client.meta.endpoint_url), name, tables, Keys(directory))
        stage.fill(clients.make("secretsmanager", "us-east-1"), origin.origin)
        with gateway(stage, directory) as one:
            yield Here(opened, stage, origin, directory, one)


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, str(answer.json["error"]["code"])


def test_a_call_goes_on_with_the_key(here: Here) -> None:
    """A call with a token reaches the provider with the key that Secrets Manager keeps, and without the token."""
    token = here.stage.token()
    assert here.gateway.complete(token, patience=10).status == 200
    assert here.provider.seen[-1]["authorization"] == f"Bearer {SECRET}"
    assert token not in str(here.provider.seen[-1])


def test_a_revocation_holds_for_the_next_call(here: Here) -> None:
    """What an administrator of the stage revokes is refused here from the next call on, and restored as well."""
    token = here.stage.token()
    assert here.gateway.complete(token, patience=10).status == 200
    made = here.stage.adapters.control.revoke(
        samples.revocation("key", "openai", at=int(time.time())), samples.event("revocation.made")
    )
    assert code(here.gateway.complete(token)) == (403, "revoked")
    here.stage.adapters.control.restore(made.id, "tester", samples.event("revocation.lifted"))
    assert code(here.gateway.complete(token)) == (401, "invalid_token")  # it is from before the revocation
    assert here.gateway.complete(here.stage.token(), patience=10).status == 200


def test_a_refused_call_is_found(here: Here) -> None:
    """The stage's administrators find a call that a gateway refused by the id that its caller was shown."""
    refused = here.gateway.complete(here.stage.token() + "x")
    assert refused.status == 401
    kept, request_id = here.stage.adapters.refused_calls, refused.headers["x-request-id"]
    wait_until(lambda: kept.refused_call(request_id, int(time.time())), 15)
    found = kept.refused_call(request_id, int(time.time()))
    assert found is not None
    assert (found.request_id, found.status, found.principal) == (request_id, 401, "")


def test_a_call_beyond_its_scope_is_counted(here: Here) -> None:
    """The stage's administrators see it in the usage of its principal."""
    token = here.stage.token("build-2")
    for _ in range(3):
        refused = call("POST", f"{here.gateway.url}/openai/v1/files", {}, {"authorization": f"Bearer {token}"})
        assert code(refused) == (403, "insufficient_scope")
    query = UsageQuery("day", window_start("day", int(time.time())), principal=f"{ISSUER}|sub:build-2")
    [use] = here.stage.adapters.usage.uses(query).uses
    assert use.refused_calls["out_of_scope"] == 3


def test_how_long_answers_took_is_kept(here: Here) -> None:
    """The stage's administrators see how many answers there were, whatever gateway sent them, and how long they took to begin."""
    assert here.gateway.complete(here.stage.token(), patience=10).status == 200
    kept = here.stage.adapters.response_times
    wait_until(lambda: kept.responses(int(time.time())), 25)
    hour = kept.responses(int(time.time()))[-1]
    assert (hour.window, hour.calls > 0) == ("hour", True)


def test_a_revocation_ends_an_answer(here: Here) -> None:
    """An answer that has begun breaks off once an administrator of the stage revokes what it stands on."""
    token = here.stage.token()
    assert here.gateway.complete(token, patience=10).status == 200
    here.provider.may_end.clear()
    address = urlsplit(here.gateway.url)
    with contextlib.closing(HTTPConnection(str(address.hostname), address.port, timeout=20)) as connection:
        connection.request("POST", "/openai/v1/chat/completions", b"{}", {"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert answer.read(1) == b"{"
        made = here.stage.adapters.control.revoke(
            samples.revocation("grant", "ci", at=int(time.time())), samples.event("revocation.made")
        )
        with pytest.raises((IncompleteRead, ConnectionError)):
            answer.read()
    here.provider.may_end.set()
    here.stage.adapters.control.restore(made.id, "tester", samples.event("revocation.lifted"))
    wait_until(lambda: '"under_way": true' in here.gateway.log.read_text())


def test_a_limit_is_the_stage_s(here: Here) -> None:
    """A limit counts in the stage's own table: what was used elsewhere is used here."""
    here.stage.put_in_force(samples.grant(calls=(Limit(3, "day"),), issued=(Limit(1000, "day"),)))
    token, now = here.stage.token("build-2"), int(time.time())
    assert here.stage.verbs.call(token, now) is None
    assert [here.gateway.complete(token).status for _ in range(3)] == [200, 200, 429]
    here.stage.put_in_force(samples.grant(calls=(Limit(1_000_000, "day"),), issued=(Limit(1_000_000, "day"),)))


def test_what_answers_took_is_counted(here: Here, tmp_path: Path) -> None:
    """What answers took is counted by model in the stage's tables, the last of it when a gateway ends."""
    token = here.stage.token()
    with gateway(here.stage, tmp_path) as one:
        for _ in range(3):
            assert one.complete(token, patience=10, body={"model": "gpt-5-nano", "messages": []}).status == 200
    query = UsageQuery("day", window_start("day", int(time.time())), principal=samples.SUB)
    (use,) = here.stage.adapters.usage.uses(query).uses
    assert ModelUse("gpt-5-nano", 3, 0, 27, 12, 0) in use.models


def test_a_budget_is_held_and_settled(here: Here) -> None:
    """A call reserves what it may take in the stage's tables, is settled from its answer, and one that has no room is refused."""
    asked = {"model": "gpt-5-nano", "messages": [], "max_tokens": 100}

    def limit(tokens: int) -> None:
        budget = BudgetLimit("usage", tokens, "day")
        here.stage.put_in_force(samples.grant(calls=MANY, issued=MANY)._replace(budgets=(budget,)))

    def used() -> BudgetUse | None:
        now = int(time.time())
        query = UsageQuery("day", window_start("day", now), principal=f"{samples.ISSUER}|sub:build-2", now=now)
        (use,) = here.stage.adapters.usage.uses(query).uses
        return use.budgets.get("usage")

    limit(20_000)
    token = here.stage.token("build-2")
    assert [here.gateway.complete(token, patience=10, body=asked).status for _ in range(3)] == [200] * 3
    wait_until(lambda: used() == BudgetUse(3 * 13, 0), 10)
    limit(2_000)
    here.provider.may_end.clear()
    held = threading.Thread(target=here.gateway.complete, args=(token, 10, asked))
    held.start()
    wait_until(lambda: (used() or BudgetUse(0, 0)).reserved > 1_000, 10)
    refused = here.gateway.complete(token, body=asked)
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    here.provider.may_end.set()
    held.join(30)
    wait_until(lambda: used() == BudgetUse(4 * 13, 0), 10)
    assert '"reason": "quota_usage"' in here.gateway.log.read_text()
    here.stage.put_in_force(samples.grant(calls=MANY, issued=MANY))


def test_tables_that_are_gone_are_a_503(here: Here) -> None:
    """Without its tables a gateway admits nothing, answers soon, is not ready, and serves again by itself."""
    token, seen = here.stage.token(), len(here.provider.seen)
    with here.door.gone():
        began = time.monotonic()
        assert code(here.gateway.complete(token)) == (503, "temporarily_unavailable")
        assert time.monotonic() - began < BOUND
        wait_until(lambda: here.gateway.ready() == (503, "state out of reach"), 20)
    assert len(here.provider.seen) == seen
    wait_until(lambda: here.gateway.ready() == (200, "ready"), 20)
    assert here.gateway.complete(token, patience=10).status == 200


def test_tables_that_hang_are_a_503_for_everybody(here: Here) -> None:
    """Tables that never answer hold no call for ever, not even those that wait for others."""
    token, seen, answers = here.stage.token(), len(here.provider.seen), []
    with here.door.failing(hangs):
        began = time.monotonic()
        threads = [
            threading.Thread(target=lambda: answers.append(code(here.gateway.complete(token)))) for _ in range(60)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join(30)
        assert time.monotonic() - began < 2 * BOUND
    assert set(answers) == {(503, "temporarily_unavailable")}
    assert (len(answers), len(here.provider.seen)) == (60, seen)


def test_an_unreachable_provider_takes_no_quota(here: Here) -> None:
    """A call of which nothing was sent is given back to the tables."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    stage = here.stage
    before = _used(stage)
    secrets = clients.make("secretsmanager", "us-east-1")
    stage.set_key(secrets, f"http://localhost:{closed}", "unreachable-0123456789")
    assert code(here.gateway.complete(stage.token("build-2"))) == (502, "origin_unreachable")
    wait_until(lambda: _used(stage)[1] == before[1] + 1, 10)
    assert _used(stage)[0] == before[0]
    stage.set_key(secrets, here.provider.origin, VERSION)


def _used(stage: GatewayStage) -> tuple[int, int]:
    """The calls of build-2 today: counted, and given back since nothing was sent."""
    uses = stage.adapters.usage.uses(UsageQuery("day", window_start("day", int(time.time())))).uses
    mine = [one for one in uses if one.principal.endswith("sub:build-2")]
    return sum(one.calls for one in mine), sum(one.refused_calls.get("not_sent", 0) for one in mine)


def test_a_call_under_way_is_finished(here: Here) -> None:
    """At SIGTERM a gateway is not ready, then refuses who comes, finishes the call that is under way, and ends with 0."""
    token, answers = here.stage.token(), []
    with gateway(here.stage, here.directory, "--drain", "20", "--drain-delay", "2") as one:
        here.provider.may_end.clear()
        seen = len(here.provider.seen)
        calling = threading.Thread(target=lambda: answers.append(one.complete(token, patience=10)))
        calling.start()
        wait_until(lambda: len(here.provider.seen) > seen, 20)
        one.process.send_signal(signal.SIGTERM)
        wait_until(lambda: one.ready() == (503, "draining"), 10)
        wait_until(lambda: _refuses(one), 10)
        here.provider.may_end.set()
        calling.join(20)
        assert one.process.wait(30) == 0
    assert [answer.status for answer in answers] == [200]


def _refuses(one: Gateway) -> bool:
    """Whether a connection is refused, which is neither accepted nor kept waiting."""
    url = urlsplit(one.url)
    with socket.socket() as asking:
        asking.settimeout(5)
        return asking.connect_ex((url.hostname, url.port)) == errno.ECONNREFUSED


def test_a_call_that_does_not_end_is_cut(here: Here) -> None:
    """A call that takes longer than a drain has is cut, so that a gateway ends when it was said to."""
    token, ended = here.stage.token(), threading.Event()
    with gateway(here.stage, here.directory, "--drain", "1", "--drain-delay", "0") as one:
        here.provider.may_end.clear()
        seen = len(here.provider.seen)

        def call_it() -> None:
            try:
                one.complete(token, patience=10)
            except (OSError, HTTPException):
                ended.set()

        threading.Thread(target=call_it, daemon=True).start()
        wait_until(lambda: len(here.provider.seen) > seen, 20)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(20) == 0
        here.provider.may_end.set()
    assert here.gateway.complete(token, patience=10).status == 200


def test_a_start_without_tables_waits_for_them(here: Here) -> None:
    """Tables that do not answer at a start are no end of it: it is not ready, says why once, and serves once they do."""
    with contextlib.ExitStack() as stack:
        with here.door.gone():
            one = stack.enter_context(gateway(here.stage, here.directory, wait=False))
            assert one.ready()[0] == 503
            assert call("GET", f"{one.url}/healthz", patience=0).status == 200
        wait_until(lambda: one.ready() == (200, "ready"), 20)
        assert one.complete(here.stage.token(), patience=10).status == 200
        assert "not ready: state_unavailable (the table " in one.log.read_text()


def test_a_hang_up_ends_nothing(here: Here) -> None:
    """SIGHUP has no meaning without a certificate, and is no reason to end calls."""
    here.gateway.process.send_signal(signal.SIGHUP)
    assert here.gateway.complete(here.stage.token(), patience=10).status == 200
    assert here.gateway.process.poll() is None


def test_only_a_trusted_proxy_says_who_calls(here: Here) -> None:
    """The address of a caller is what a trusted proxy says, and what crossed a network in the clear is refused."""
    here.stage.put_in_force(samples.grant(calls=MANY, issued=MANY)._replace(source_ips=("203.0.113.0/24",)))
    token, body = here.stage.token(), {"model": "gpt-5-mini", "messages": []}

    def status(one: Gateway, **forwarded: str) -> int:
        named = {"authorization": f"Bearer {token}", **{f"x-forwarded-{name}": of for name, of in forwarded.items()}}
        return call("POST", f"{one.url}/openai/v1/chat/completions", body, named).status

    with gateway(here.stage, here.directory, "--trusted-proxies", "127.0.0.1,10.0.0.0/8") as behind:
        assert status(behind, **{"for": "203.0.113.7", "proto": "https"}) == 200
        assert status(behind, **{"for": "203.0.113.7, 198.51.100.1", "proto": "https"}) == 403
        assert status(behind, **{"for": "203.0.113.7", "proto": "http"}) == 403
    assert status(here.gateway, **{"for": "203.0.113.7", "proto": "https"}) == 403
    here.stage.put_in_force(samples.grant(calls=MANY, issued=MANY))


def test_it_serves_tls_and_renews_it(here: Here, tmp_path: Path) -> None:
    """With a certificate it serves TLS alone, and another certificate from the next connection on once the files are new."""
    files = certificates.write(tmp_path)
    told = ("--tls-certificate", str(files.certificate), "--tls-key", str(files.key), "--workers", "2")
    with gateway(here.stage, here.directory, *told, wait=False) as one:
        assert one.url.startswith("https://127.0.0.1:")
        assert _trusted(one, files)
        with pytest.raises((OSError, HTTPException)):
            call("GET", one.url.replace("https:", "http:") + "/healthz", patience=0)
        certificates.write(tmp_path)
        wait_until(lambda: all(_trusted(one, files) for _ in range(4)), 20)


def _trusted(one: Gateway, files: TlsFiles) -> bool:
    """Whether it runs, and serves the certificate that is in the files now."""
    place = urlsplit(one.url).netloc
    with contextlib.closing(
        HTTPSConnection(place, timeout=10, context=ssl.create_default_context(cafile=files.certificate))
    ) as made:
        try:
            made.request("GET", "/healthz")
        except ssl.SSLCertVerificationError:
            return False
        return made.getresponse().status == 200


def test_two_workers_share_a_port(here: Here) -> None:
    """Two processes at one port serve the calls that come, and neither dies."""
    token = here.stage.token()
    with gateway(here.stage, here.directory, "--workers", "2") as one:
        assert {one.complete(token, patience=10).status for _ in range(8)} == {200}
        assert "worker" not in one.log.read_text()


def test_no_secret_is_logged(here: Here) -> None:
    """Neither a token nor a key nor the credentials are in a gateway's log."""
    token = here.stage.token()
    here.gateway.complete(token, patience=10)
    here.gateway.complete(token + "x")
    text = here.gateway.log.read_text()
    assert '"status": 401' in text
    for secret in (SECRET, token, "AWS_SECRET"):
        assert secret not in text


def test_a_gateway_shows_its_numbers(here: Here, tmp_path: Path) -> None:
    """Calls through two workers are one sum at an address of its own, and no token, key or principal is there."""
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    token = here.stage.token()
    with gateway(here.stage, tmp_path, "--workers", "2", "--metrics", f"127.0.0.1:{port}") as counted:
        assert [counted.complete(token, patience=10).status for _ in range(6)] == [200] * 6
        assert counted.complete(token + "x").status == 401
        assert call("GET", f"{counted.url}/metrics", patience=0.0).status == 404

        def page() -> str:
            return call("GET", f"http://127.0.0.1:{port}/metrics", patience=0.0).body.decode()

        row = 'keybroker_calls_total{error_type="",keybroker_key="openai",keybroker_status_class="2xx"} 6.0'
        wait_until(lambda: row in page())
        text = page()
        assert "keybroker_process_starts_total 2.0" in text
        assert 'keybroker_connections{keybroker_door="edge"}' in text
        for secret in (SECRET, token, token.rpartition(".")[2], "build-1"):
            assert secret not in text
