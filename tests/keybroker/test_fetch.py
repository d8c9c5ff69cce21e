"""One fetch, over a real socket: what leaves, how often, and what the error says to do."""

from __future__ import annotations

import socket
import time

import pytest

from keybroker import IdentityError, NoIdentity, Refused, Unreachable
from keybroker.fetch import fetch
from keybroker.token import TokenRequest
from tests.running import Running, call
from tests.scripted_broker import Handler, bare_surroundings, dropped, good, in_turn, jwt, refused, scripted

SUBJECT = jwt(iss="https://issuer.example.com", aud="keybroker", exp=4_000_000_000)


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    bare_surroundings(monkeypatch)
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", SUBJECT)


def test_what_is_wished_for_is_asked_for() -> None:
    with scripted() as broker:
        token = fetch(TokenRequest(broker.url, "openai", grant="ci", scope="GET:/v1/models"))
    assert token.access_token.startswith("token.")
    (asked,) = broker.asked
    assert asked.path == "/token"
    assert (asked.form["audience"], asked.form["grant"], asked.form["scope"]) == ("openai", "ci", "GET:/v1/models")
    assert asked.form["subject_token"] == SUBJECT


def test_each_fetch_has_an_idempotency_key_of_its_own_of_at_least_128_bits() -> None:
    with scripted() as broker:
        for _ in range(2):
            fetch(TokenRequest(broker.url, "openai"))
    first, second = (asked.headers["idempotency-key"] for asked in broker.asked)
    assert first != second
    assert len(first) >= 22


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
def test_a_fault_of_the_network_or_the_broker_is_tried_once_more_with_the_same_token_and_key(fault: object) -> None:
    with scripted(in_turn(fault, good)) as broker:  # type: ignore[arg-type]  # a Script
        fetch(TokenRequest(broker.url, "openai"))
    first, second = broker.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.form == second.form


def test_an_answer_that_is_lost_does_not_burn_an_identity_token_that_can_be_used_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", running.mint("7601"))

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


def test_it_is_not_tried_a_third_time() -> None:
    with scripted(dropped) as broker, pytest.raises(Unreachable) as caught:
        fetch(TokenRequest(broker.url, "openai"))
    assert len(broker.asked) == 2
    assert f"Check that {broker.url} is the broker's address (KEYBROKER_URL)" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "invalid_grant"), (400, "invalid_target"), (403, "access_denied"), (429, "quota_exceeded")],
)
def test_a_refusal_is_never_tried_again(status: int, error: str) -> None:
    with scripted(refused(status, error, "no")) as broker, pytest.raises(Refused) as caught:
        fetch(TokenRequest(broker.url, "openai"))
    assert (caught.value.error, len(broker.asked)) == (error, 1)


def test_who_is_told_to_come_back_much_later_does_not_wait_here() -> None:
    began = time.monotonic()
    with scripted(refused(503, "temporarily_unavailable", retry_after="60")) as broker, pytest.raises(Refused):
        fetch(TokenRequest(broker.url, "openai"))
    assert len(broker.asked) == 1
    assert time.monotonic() - began < 30


def test_a_closed_port_says_which_address_and_setting_to_look_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(
        Unreachable, match=rf"cannot reach .*\nCheck that {url} is the broker's address \(KEYBROKER_URL\)"
    ):
        fetch(TokenRequest(url, "openai"))


def test_no_identity_sends_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYBROKER_ID_TOKEN")
    with scripted() as broker, pytest.raises(NoIdentity):
        fetch(TokenRequest(broker.url, "openai"))
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", "")
    with scripted() as broker, pytest.raises(IdentityError):
        fetch(TokenRequest(broker.url, "openai"))
    assert broker.asked == []


def test_an_identity_token_that_was_not_accepted_is_explained_by_its_own_claims() -> None:
    with scripted(refused(400, "invalid_grant")) as broker, pytest.raises(Refused) as caught:
        fetch(TokenRequest(broker.url, "openai"))
    text = str(caught.value)
    assert text.startswith("invalid_grant\n")
    for part in ("(environment)", "'https://issuer.example.com'", "'keybroker'", "KEYBROKER_AUDIENCE"):
        assert part in text
    assert SUBJECT.split(".")[1] not in text


def test_a_token_for_another_audience_than_the_brokers_is_said_to_be(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", running.mint("7602", aud="elsewhere"))
    with pytest.raises(
        Refused, match="has audience 'elsewhere', but the broker expects 'keybroker': set KEYBROKER_AUD"
    ):
        fetch(TokenRequest(running.broker, "openai"))


def test_the_broker_does_not_choose_the_audience() -> None:
    with scripted(refused(400, "invalid_grant")) as broker:
        broker.audience = "keybroker.octo-org"
        with pytest.raises(Refused, match=r"the broker expects 'keybroker\.octo-org': set KEYBROKER_AUDIENCE"):
            fetch(TokenRequest(broker.url, "openai"))
    assert [asked.form["subject_token"] for asked in broker.asked] == [SUBJECT]  # nothing was sent but what there was


def test_an_audience_that_is_another_services_is_not_even_proposed() -> None:
    with scripted(refused(400, "invalid_grant")) as broker:
        broker.audience = "sts.amazonaws.com"
        with pytest.raises(Refused) as caught:
            fetch(TokenRequest(broker.url, "openai"))
    assert "sts.amazonaws.com" not in str(caught.value)
    assert "was not accepted" in str(caught.value)


def test_an_identity_token_that_has_expired_is_said_to_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYBROKER_ID_TOKEN", jwt(exp=1_700_000_000))
    with scripted(refused(400, "invalid_grant")) as broker, pytest.raises(Refused, match="has expired"):
        fetch(TokenRequest(broker.url, "openai"))


@pytest.mark.parametrize("token", ["a.b.c", "a.W10.c", jwt(exp="soon", iss=["x"] * 1000)])
def test_an_identity_token_that_says_nothing_readable_is_explained_all_the_same(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
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
    with scripted(script) as broker, pytest.raises(Refused) as caught:  # type: ignore[arg-type]  # a Script
        fetch(TokenRequest(broker.url, "openai"))
    assert said in str(caught.value)


def test_a_refusal_that_says_it_all_gets_no_advice() -> None:
    with scripted(refused(400, "invalid_grant", "used before")) as broker, pytest.raises(Refused) as caught:
        fetch(TokenRequest(broker.url, "openai"))
    assert str(caught.value) == "invalid_grant: used before"
