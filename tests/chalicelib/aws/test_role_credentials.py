"""A server's AWS credentials: found as botocore finds them, renewed beside the calls, never waited for, never quoted."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from botocore.awsrequest import AWSResponse

from chalicelib.aws import clients, role_credentials
from chalicelib.aws.role_credentials import RoleCredentials, session_of
from chalicelib.aws.sigv4 import Credentials
from chalicelib.errors import NotConfigured

FIRST, SECOND = Credentials("AKIA1", "one", "session-1"), Credentials("AKIA2", "two", "session-2")


def test_the_environment_s_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the environment are found by botocore's own chain, the session token among them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "one")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-1")
    one = RoleCredentials()
    assert one() is None
    assert one.look()
    assert one() == FIRST


def test_the_next_ones_take_their_place() -> None:
    """What a role gets anew is used from then on."""
    found = iter([FIRST, SECOND])
    one = RoleCredentials(lambda: next(found))
    assert one.look()
    assert one() == FIRST
    assert one.look()
    assert one() == SECOND


def test_a_failed_look_keeps_the_known_ones() -> None:
    """Metadata that fail for a while change nothing: the credentials are still good, and AWS says when not."""
    faults = iter([None, OSError("away"), "none"])

    def find() -> Credentials | None:
        fault = next(faults)
        if isinstance(fault, OSError):
            raise fault
        return FIRST if fault is None else None

    one = RoleCredentials(find)
    assert [one.look() for _ in range(3)] == [True, False, False]
    assert one() == FIRST


@pytest.mark.parametrize(
    "fault",
    [
        botocore.exceptions.MetadataRetrievalError(error_msg="made-up-secret"),
        KeyError("made-up-secret"),
        TypeError("made-up-secret"),
        RuntimeError("made-up-secret"),
    ],
)
def test_a_fault_is_not_quoted(caplog: pytest.LogCaptureFixture, fault: Exception) -> None:
    """A fault of the chain is told once, by its kind; its text could hold what a metadata service answered."""
    caplog.set_level(logging.WARNING)

    def find() -> Credentials | None:
        raise fault

    one = RoleCredentials(find)
    assert [one.look(), one.look()] == [False, False]
    assert one() is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert type(fault).__name__ in said
    assert "made-up-secret" not in said


def test_no_call_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the chain hangs, what is known is returned at once."""
    monkeypatch.setattr(role_credentials, "RENEW_SECONDS", 0.0)
    looks, hanging, go_on = iter([1]), threading.Event(), threading.Event()

    def find() -> Credentials | None:
        if next(looks, None) is None:
            hanging.set()
            go_on.wait(10)
        return FIRST

    with RoleCredentials(find) as one:
        assert one.wait(10)
        assert hanging.wait(10)
        assert one() == FIRST
        go_on.set()


def client_of(known: list[Credentials]) -> tuple[Any, list[Mapping[str, str]]]:
    """A client of KMS that signs with the last of these, and the headers of each request, none of which is sent."""
    client: Any = clients.make(
        "kms", "us-east-1", "http://127.0.0.1:9", session_of(lambda: known[-1] if known else None)
    )
    sent: list[Mapping[str, str]] = []

    def keep(request: Any, **_: object) -> AWSResponse:  # noqa: ANN401  botocore's
        sent.append({name.lower(): str(value) for name, value in request.headers.items()})
        return AWSResponse(request.url, 200, {}, None)  # type: ignore[arg-type]  # it is read below

    client.meta.events.register("before-send.kms", keep)
    return client, sent


def test_a_client_signs_with_those_of_the_moment() -> None:
    """A client of botocore that was made once signs each request with what is known by then."""
    known = [FIRST]
    client, sent = client_of(known)
    for found in (FIRST, SECOND):
        known.append(found)
        with contextlib.suppress(Exception):  # the answer is none
            client.list_keys()
        assert f"Credential={found.key_id}/" in sent[-1]["authorization"]
        assert found.session_token in sent[-1]["x-amz-security-token"]


@pytest.mark.parametrize("text", [None, "[default\nregion ="])
def test_a_configuration_of_no_use_is_said_at_once(
    text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A profile that is not there, and a file that is none, are told by their kind, before any client is made."""
    if text is not None:
        (tmp_path / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "made-up-secret")
    with pytest.raises(NotConfigured, match=r"^not_configured$") as caught:
        session_of(lambda: FIRST)
    assert caught.value.hint == f"AWS's configuration: {'ProfileNotFound' if text is None else 'ConfigParseError'}"


def test_without_credentials_nothing_is_sent() -> None:
    """Without credentials a request is an error that says so, and never goes out unsigned."""
    client, sent = client_of([])
    with pytest.raises(botocore.exceptions.NoCredentialsError):
        client.list_keys()
    assert sent == []
