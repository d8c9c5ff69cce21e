"""Taking a token back: what is asked, and what is raised when it may still work."""

from __future__ import annotations

import pytest

from keybroker import NotConfigured, Refused, Unreachable, exchange_token, revoke_token
from tests.running import Running
from tests.scripted_broker import dropped, refused, scripted


def test_a_token_that_is_taken_back_opens_nothing_from_the_next_call_on(running: Running) -> None:
    token = exchange_token(running.broker, running.mint("7501"), "openai", grant="ci").access_token
    assert running.complete(token).status == 200
    revoke_token(f"{running.broker}/", token)
    assert running.complete(token).status == 403
    revoke_token(running.broker, token)  # twice changes nothing


def test_what_is_no_token_of_the_brokers_is_as_good_as_taken_back(running: Running) -> None:
    revoke_token(running.broker, "no-token-of-theirs")


def test_it_is_a_form_as_rfc_7009_has_it() -> None:
    with scripted(lambda handler, _: handler.answer(200, {})) as broker:
        revoke_token(broker.url, "a.token+text")
    (asked,) = broker.asked
    assert (asked.path, asked.form) == ("/revoke", {"token": "a.token+text"})


def test_whether_it_still_works_is_unknown_after_an_error() -> None:
    with scripted(refused(503, "temporarily_unavailable")) as broker, pytest.raises(Refused) as caught:
        revoke_token(broker.url, "a.token.text")
    assert (caught.value.status, len(broker.asked)) == (503, 1)
    with scripted(dropped) as broker, pytest.raises(Unreachable):
        revoke_token(broker.url, "a.token.text")


def test_a_token_is_not_sent_in_the_clear() -> None:
    with pytest.raises(NotConfigured, match="https://"):
        revoke_token("http://broker.example.com", "a.token.text")
