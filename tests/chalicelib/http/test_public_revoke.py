from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from chalicelib.exchange.request import BODY_LIMIT
from tests.parts import claims_of
from tests.running import Answer, Running, call, start, wait_until

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def revoke_own_token(running: Running, token: str, kind: str = FORM, **more: str) -> Answer:
    fields = {"token": token, **more}
    body = urlencode(fields).encode() if kind == FORM else json.dumps(fields).encode()
    return call("POST", f"{running.broker}/revoke", body, {"content-type": kind})


def revocations(running: Running, repository_id: str) -> list[dict[str, object]]:
    """The audit's events of this principal's tokens taken back."""
    path = f"/admin/audit?kind=revocation.made&principal={quote(running.sub(repository_id), safe='')}"
    return list(running.administer("GET", path).json["items"])


@pytest.mark.parametrize(("kind", "repository_id"), [(FORM, "8401"), (JSON, "8402")])
def test_revoked_token(running: Running, kind: str, repository_id: str) -> None:
    """A revoked token is refused at the next call."""
    token = running.token(repository_id)
    assert running.complete(token).status == 200
    answer = revoke_own_token(running, token, kind)
    assert (answer.status, answer.json, answer.headers["cache-control"]) == (200, {}, "no-store")
    refused = running.complete(token)
    assert (refused.status, refused.json["error"]["code"]) == (403, "revoked")


def test_revoking_twice(running: Running) -> None:
    """Revoking a token twice is one revocation and one event."""
    token = running.token("8403")
    answers = [revoke_own_token(running, token, kind) for kind in (FORM, JSON, FORM, FORM)]
    assert [one.status for one in answers] == [200] * 4
    [event] = revocations(running, "8403")
    claims = claims_of(token)
    assert (event["request_id"], event["jti"]) == (answers[0].headers["x-request-id"], claims["jti"])
    assert (event["principal"], event["actor"]) == (running.sub("8403"), running.sub("8403"))
    assert (event["key"], event["grant"]) == ("openai", "ci")
    assert event["detail"] == {
        "revocation": f"holder-{claims['jti']}",
        "scope": "token",
        "target": claims["jti"],
        "why": "revoked by its holder",
    }


def test_other_tokens_work(running: Running) -> None:
    """Other tokens of the principal still work, and new ones are issued."""
    taken, other = running.token("8404"), running.token("8404")
    assert revoke_own_token(running, taken).status == 200
    assert running.complete(other).status == 200
    assert running.complete(running.token("8404")).status == 200
    assert running.complete(taken).status == 403


def test_revoke_any_key(running: Running) -> None:
    """A token for any key can be revoked."""
    token = running.token("8405", "anthropic")
    path = "/anthropic/v1/messages"
    assert running.complete(token, path).status == 200
    assert revoke_own_token(running, token).status == 200
    assert running.complete(token, path).status == 403


def test_token_type_hint(running: Running) -> None:
    """`token_type_hint` is ignored."""
    token = running.token("8406")
    assert revoke_own_token(running, token, token_type_hint="refresh_token").status == 200
    assert running.complete(token).status == 403


def test_restored_token_stays_dead(running: Running) -> None:
    """After an administrator restores it, the token is still refused."""
    token = running.token("8407")
    revoke_own_token(running, token)
    assert running.administer("DELETE", f"/admin/revocations/holder-{claims_of(token)['jti']}").status == 200
    assert running.complete(token).status == 401


@pytest.mark.parametrize("kind", [FORM, JSON])
@pytest.mark.parametrize(
    "token", ["x", "a.b.c", "..", "not a token", "ключ", "a" * 17_000, "{}", "Bearer x"], ids=lambda text: text[:12]
)
def test_revoke_not_a_token(running: Running, token: str, kind: str) -> None:
    """Text that is not a token is a 200, as RFC 7009 has it."""
    answer = revoke_own_token(running, token, kind)
    assert (answer.status, answer.json) == (200, {})


def test_revoke_foreign_token(running: Running) -> None:
    """A token of another issuer is ignored."""
    subject = running.mint("8408")
    assert (revoke_own_token(running, subject).status, revocations(running, "8408")) == (200, [])
    assert running.exchange(subject).status == 200


def test_revoke_forged_token(running: Running) -> None:
    """A forged token revokes nothing."""
    token = running.token("8409")
    head, payload, signature = token.split(".")
    assert revoke_own_token(running, f"{head}.{payload}.{signature[::-1]}").status == 200
    assert revoke_own_token(running, f"{head}.{payload}.").status == 200
    assert running.complete(token).status == 200
    assert revocations(running, "8409") == []


@pytest.mark.slow
def test_other_brokers_token(running: Running, tmp_path: Path) -> None:
    """A token of another broker is ignored."""
    with start("--practice-ttl", "1", directory=tmp_path) as other:
        theirs = other.token("8410")
        assert revoke_own_token(running, theirs).status == 200
        assert revocations(running, "8410") == []
        wait_until(lambda: other.complete(theirs).status == 401)
        expired = revoke_own_token(other, theirs)
        assert (expired.status, expired.json) == (200, {})
        assert revocations(other, "8410") == []


@pytest.mark.parametrize(
    ("kind", "body", "status", "text"),
    [
        (FORM, b"", 400, "token is missing"),
        (FORM, b"token", 400, "malformed form body"),
        (FORM, b"token=", 400, "token is missing"),
        (FORM, b"token_type_hint=access_token", 400, "token is missing"),
        (FORM, b"token=a&token=b", 400, "a parameter was sent twice"),
        (JSON, b"", 400, "the body must be a JSON object"),
        (JSON, b"[]", 400, "the body must be a JSON object"),
        (JSON, b"{}", 400, "token is missing"),
        (JSON, b'{"token": null}', 400, "token is missing"),
        (JSON, b'{"token": 1}', 400, "token must be text of at most 4096 characters"),
        (JSON, b'{"token": "a", "token": "b"}', 400, "a parameter was sent twice"),
        (FORM, b"token=" + b"a" * BODY_LIMIT, 413, f"the body is over {BODY_LIMIT} bytes"),
    ],
)
def test_malformed_revoke(running: Running, kind: str, body: bytes, status: int, text: str) -> None:
    """A malformed request is a 400 that says why."""
    answer = call("POST", f"{running.broker}/revoke", body, {"content-type": kind})
    assert (answer.status, answer.json["error"], answer.json["error_description"]) == (status, "invalid_request", text)


def test_revoke_method(running: Running) -> None:
    """Only POST with a form or JSON is accepted."""
    assert call("GET", f"{running.broker}/revoke").status == 405
    assert call("POST", f"{running.broker}/revoke", b"token=a", {"content-type": "text/plain"}).status == 415
