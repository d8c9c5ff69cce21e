"""Taking a token back: what is asked, and what is raised when it may still work."""

from __future__ import annotations

import pytest

from keybroker import NotConfigured, Refused, Unreachable, exchange_token, revoke_token
from tests.running import Running
from tests.scripted_broker import dropped, refused, scripted


def test_a_revoked_token_opens_nothing(running: Running) -> None:
    """A revoked token is refused from the next call on."""
    token = exchange_token(running.broker, running.mint("8701"), "openai", grant="ci").access_token
    assert running.complete(token).status == 200
    revoke_token(f"{running.broker}/", token)
    assert running.complete(token).status == 403
    revoke_token(running.broker, token)  # twice changes nothing


def test_an_unknown_token_counts_as_revoked(running: Running) -> None:
    """A token that the broker does not know counts as revoked."""
    revoke_token(running.broker, "no-token-of-theirs")


def test_the_request_is_rfc_7009() -> None:
    """The request is RFC 7009's form."""
    with scripted(lambda handler, _: handler.answer(200, {})) as broker:
        revoke_token(broker.url, "a.token+text")
    (asked,) = broker.asked
    assert (asked.path, asked.form) == ("/revoke", {"token": "a.token+text"})


def test_after_an_error_the_token_may_still_work() -> None:
    """An error is raised where the token may still work."""
    with scripted(refused(503, "temporarily_unavailable")) as broker, pytest.raises(Refused) as caught:
        revoke_token(broker.url, "a.token.text")
    assert (caught.value.status, len(broker.asked)) == (503, 1)
    with scripted(dropped) as broker, pytest.raises(Unreachable):
        revoke_token(broker.url, "a.token.text")


def test_a_token_is_not_sent_in_the_clear() -> None:
    """A token is not sent in the clear."""
    with pytest.raises(NotConfigured, match="https://"):
        revoke_token("http://broker.example.com", "a.token.text")
