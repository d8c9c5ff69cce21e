"""One fetch, over a real socket: what leaves, how often, and what the error says to do."""

from __future__ import annotations

import socket
import time

import pytest

from keybroker import IdentityError, NoIdentity, Refused, Unreachable, tries
from keybroker.fetch import fetch
from keybroker.token import TokenRequest
from tests.running import Running, call
from tests.scripted_broker import Handler, dropped, good, in_turn, jwt, refused, scripted

SUBJECT = jwt(iss="https://issuer.example.com", aud="keybroker", exp=4_000_000_000)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "PAUSE", (0.0, 0.001))


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", SUBJECT)


def test_the_request_is_sent_as_made() -> None:
    """What the request names is sent."""
    with scripted() as broker:
        token = fetch(TokenRequest(broker.url, "openai", grant="ci", scope="GET:/v1/models"))
    assert token.access_token.startswith("token.")
    (asked,) = broker.asked
    assert asked.path == "/token"
    assert (asked.form["audience"], asked.form["grant"], asked.form["scope"]) == ("openai", "ci", "GET:/v1/models")
    assert asked.form["subject_token"] == SUBJECT


def test_each_fetch_has_its_idempotency_key() -> None:
    """Each fetch has an idempotency key of its own, of at least 128 bits."""
    with scripted() as broker:
        for _ in range(2):
            fetch(TokenRequest(broker.url, "openai"))
    first, second = (asked.headers["idempotency-key"] for asked in broker.asked)
    assert first != second
    assert len(first) >= 22


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        dropped,
        refused(503, "temporarily_unavailable", retry_after="1"),
        refused(500, "server_error"),
        refused(429, "temporarily_unavailable", "too many calls at once", retry_after="1"),
        lambda handler, _: handler.answer(502, "Bad Gateway"),
    ],
    ids=["dropped", "503", "500", "throttled by API Gateway", "502 of a proxy"],
)
def test_a_failure_is_retried(fault: object) -> None:
    """After a network or server error the same token and key are sent again."""
    with scripted(in_turn(fault, good)) as broker:  # type: ignore[arg-type]  # a Script
        fetch(TokenRequest(broker.url, "openai"))
    first, second = broker.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.form == second.form


def test_a_lost_response_does_not_burn_the_token(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost response does not use up a single-use identity token."""
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", running.mint("8601"))

    def relay(handler: Handler, number: int) -> None:
        asked = handler.broker.asked[-1]
        headers = {"idempotency-key": asked.headers["idempotency-key"]}
        answer = call("POST", f"{running.broker}/token", dict(asked.form), headers)
        assert answer.status == 200
        if number == 1:
            handler.drop()
        else:
            handler.answer(200, answer.json)

    with scripted(relay) as broker:
        token = fetch(TokenRequest(broker.url, "openai", grant="ci"))
    assert len(broker.asked) == 2
    assert running.complete(token.access_token).status == 200


def test_what_does_not_answer_is_told_after_two_tries() -> None:
    """There is no third request to what does not answer."""
    with scripted(dropped) as broker, pytest.raises(Unreachable) as caught:
        fetch(TokenRequest(broker.url, "openai"))
    assert len(broker.asked) == 2
    assert f"Check that {broker.url} is the broker's address (KEYBROKER_URL)" in str(caught.value)


BUSY = refused(429, "temporarily_unavailable", "too many calls at once")
FAILING = refused(500, "server_error")


def _unavailable(handler: Handler, _number: int) -> None:
    """Answer as a load balancer does whose broker is away."""
    handler.answer(503, "Service Unavailable", retry_after="0")


def test_several_failures_in_a_row_are_survived(short_pauses: None) -> None:  # noqa: ARG001  a fixture
    """A 429 for load and two 5xx in a row are survived, all of them the same request."""
    with scripted(in_turn(BUSY, FAILING, _unavailable, good)) as broker:
        fetch(TokenRequest(broker.url, "openai"))
    assert len({asked.headers["idempotency-key"] for asked in broker.asked}) == 1
    assert len(broker.asked) == 4


def test_there_is_no_fifth_try(short_pauses: None) -> None:  # noqa: ARG001  a fixture
    """After four requests the last answer is told."""
    with scripted(BUSY) as broker, pytest.raises(Refused, match="too many calls at once"):
        fetch(TokenRequest(broker.url, "openai"))
    assert len(broker.asked) == 4


def test_another_servers_answer_is_not_retried() -> None:
    """A status that no broker gives and that is not about load is told after one request."""
    with (
        scripted(lambda handler, _: handler.answer(404, "Not Found")) as broker,
        pytest.raises(Unreachable, match=r"HTTP 404.*not a Keybroker broker"),
    ):
        fetch(TokenRequest(broker.url, "openai"))
    assert len(broker.asked) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "invalid_grant"), (400, "invalid_target"), (403, "access_denied"), (429, "quota_exceeded")],
)
def test_a_refusal_is_not_retried(status: int, error: str) -> None:
    """A refusal is never retried."""
    with scripted(refused(status, error, "no")) as broker, pytest.raises(Refused) as caught:
        fetch(TokenRequest(broker.url, "openai"))
    assert (caught.value.error, len(broker.asked)) == (error, 1)


def test_a_permanent_fault_is_not_retried() -> None:
    """A 503 that says that no retry helps is not retried, and neither is it called a matter of time."""
    script = refused(503, "temporarily_unavailable", "mend it", **{"x-should-retry": "false"})
    with scripted(script) as broker, pytest.raises(Refused, match="trying again does not help") as caught:
        fetch(TokenRequest(broker.url, "openai"))
    assert (caught.value.permanent, caught.value.retry_after, len(broker.asked)) == (True, None, 1)


def test_a_long_retry_after_is_not_waited_for() -> None:
    """A long Retry-After is reported and not waited for."""
    began = time.monotonic()
    with scripted(refused(503, "temporarily_unavailable", retry_after="60")) as broker, pytest.raises(Refused):
        fetch(TokenRequest(broker.url, "openai"))
    assert len(broker.asked) == 1
    assert time.monotonic() - began < 30


def test_a_closed_port_names_the_setting() -> None:
    """A closed port's error names the address and the setting to check."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(
        Unreachable, match=rf"cannot reach .*\nCheck that {url} is the broker's address \(KEYBROKER_URL\)"
    ):
        fetch(TokenRequest(url, "openai"))


def test_no_identity_sends_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an identity no request is sent."""
    monkeypatch.delenv("KEYBROKER_ID_TOKEN")
    with scripted() as broker, pytest.raises(NoIdentity):
        fetch(TokenRequest(broker.url, "openai"))
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", "")
    with scripted() as broker, pytest.raises(IdentityError):
        fetch(TokenRequest(broker.url, "openai"))
    assert broker.asked == []


def test_a_rejected_identity_is_explained() -> None:
    """A rejected identity token is explained by its own claims, and not quoted."""
    with scripted(refused(400, "invalid_grant")) as broker, pytest.raises(Refused) as caught:
        fetch(TokenRequest(broker.url, "openai"))
    text = str(caught.value)
    assert text.startswith("invalid_grant\n")
    for part in ("(environment)", "'https://issuer.example.com'", "'keybroker'", "KEYBROKER_AUDIENCE"):
        assert part in text
    assert SUBJECT.split(".")[1] not in text


def test_a_wrong_audience_is_explained(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for another audience than the broker's is reported as such."""
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", running.mint("8602", aud="elsewhere"))
    with pytest.raises(
        Refused, match="has audience 'elsewhere', but the broker expects 'keybroker': set KEYBROKER_AUD"
    ):
        fetch(TokenRequest(running.broker, "openai"))


def test_the_broker_does_not_choose_the_audience() -> None:
    """The broker's audience is proposed, and never used by itself."""
    with scripted(refused(400, "invalid_grant")) as broker:
        broker.audience = "keybroker.octo-org"
        with pytest.raises(Refused, match=r"the broker expects 'keybroker\.octo-org': set KEYBROKER_AUDIENCE"):
            fetch(TokenRequest(broker.url, "openai"))
    assert [asked.form["subject_token"] for asked in broker.asked] == [SUBJECT]  # nothing was sent but what there was


def test_another_services_audience_is_not_proposed() -> None:
    """An audience that could be another service's is not even proposed."""
    with scripted(refused(400, "invalid_grant")) as broker:
        broker.audience = "sts.amazonaws.com"
        with pytest.raises(Refused) as caught:
            fetch(TokenRequest(broker.url, "openai"))
    assert "sts.amazonaws.com" not in str(caught.value)
    assert "was not accepted" in str(caught.value)


def test_an_expired_identity_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expired identity token is reported as such."""
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", jwt(exp=1_700_000_000))
    with scripted(refused(400, "invalid_grant")) as broker, pytest.raises(Refused, match="has expired"):
        fetch(TokenRequest(broker.url, "openai"))


@pytest.mark.parametrize("token", ["a.b.c", "a.W10.c", jwt(exp="soon", iss=["x"] * 1000)])
def test_an_unreadable_identity_is_explained(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """An identity token with unreadable claims is explained, too."""
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", token)
    with scripted(refused(400, "invalid_grant")) as broker, pytest.raises(Refused, match="was not accepted") as caught:
        fetch(TokenRequest(broker.url, "openai"))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (refused(429, "quota_exceeded", retry_after="7"), "Try again in 7 s"),
        (refused(429, "quota_exceeded"), "Try again later"),
        (refused(400, "invalid_target", "no grant"), "keybroker whoami --claims"),
        (refused(503, "temporarily_unavailable", retry_after="60"), "no token was issued"),
    ],
)
def test_a_refusal_says_what_to_do_next(script: object, said: str) -> None:
    """Refusals that waiting or a setting can help say so."""
    with scripted(script) as broker, pytest.raises(Refused) as caught:  # type: ignore[arg-type]  # a Script
        fetch(TokenRequest(broker.url, "openai"))
    assert said in str(caught.value)


def test_a_clear_refusal_gets_no_advice() -> None:
    """A refusal that is clear by itself gets no advice."""
    with scripted(refused(400, "invalid_grant", "used before")) as broker, pytest.raises(Refused) as caught:
        fetch(TokenRequest(broker.url, "openai"))
    assert str(caught.value) == "invalid_grant: used before"
