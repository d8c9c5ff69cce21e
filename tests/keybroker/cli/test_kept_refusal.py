"""A refusal is kept for seconds, for exactly the same request of the same identity."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from keybroker.ambient import Identity
from keybroker.cli.kept_refusal import SECONDS, KeptRefusal, forget_all
from keybroker.errors import Refused
from keybroker.token import TokenRequest
from tests.scripted_broker import jwt

NOW = 1_800_000_000.0
REQUEST = TokenRequest("https://broker.example", "openai")
IDENTITY = Identity("token-file", jwt(iss="https://ci.example", sub="a", jti="1"))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def refused(
    status: int = 403, error: str = "invalid_grant", wait: int | None = None, *, permanent: bool = False
) -> Refused:
    found = Refused(error, "access is revoked (grant)", status, "r-1", wait)
    found.permanent = permanent
    found.advice = "Ask."
    return found


def test_a_refusal_is_kept_as_it_was(environ: dict[str, str]) -> None:
    """The same request of the same identity gets the same words."""
    KeptRefusal.of(REQUEST, IDENTITY, environ).keep(refused(400), NOW)
    found = KeptRefusal.of(REQUEST, IDENTITY, environ).find(NOW + SECONDS - 1)
    assert found is not None
    assert (str(found), found.args, found.permanent) == (str(refused(400)), refused(400).args, False)


@pytest.mark.parametrize("later", [SECONDS, SECONDS + 1, 1e9, -1, -1e6])
def test_a_refusal_is_over_after_seconds(environ: dict[str, str], later: float) -> None:
    """It is over after ten seconds, and where the clock was set back."""
    KeptRefusal.of(REQUEST, IDENTITY, environ).keep(refused(), NOW)
    assert KeptRefusal.of(REQUEST, IDENTITY, environ).find(NOW + later) is None


@pytest.mark.parametrize(
    ("one", "seconds"),
    [
        (refused(429, "quota_exceeded", 3), 3.0),
        (refused(429, "quota_exceeded", 3600), SECONDS),
        (refused(503, "temporarily_unavailable", 2), 2.0),
        (refused(503, "temporarily_unavailable"), 0.0),
        (refused(429, "temporarily_unavailable"), 0.0),
        (refused(500, "server_error"), 0.0),
        (refused(503, "server_error", permanent=True), SECONDS),
    ],
    ids=["short quota", "long quota", "busy for 2 s", "busy", "throttled", "failing", "permanent"],
)
def test_how_long_each_is_kept(environ: dict[str, str], one: Refused, seconds: float) -> None:
    """No refusal is kept past its Retry-After, and no temporary fault without one is kept."""
    kept = KeptRefusal.of(REQUEST, IDENTITY, environ)
    kept.keep(one, NOW)
    held = [after for after in (0.0, 1.9, 2.9, SECONDS - 0.1) if kept.find(NOW + after) is not None]
    assert held == [after for after in (0.0, 1.9, 2.9, SECONDS - 0.1) if after < seconds]


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, url="https://other.example"),
        replace(REQUEST, key="groq"),
        replace(REQUEST, grant="ci"),
        replace(REQUEST, scope="GET:/v1/models"),
        replace(REQUEST, audience="other"),
    ],
    ids=["broker", "key", "grant", "scope", "audience"],
)
def test_another_request_is_asked(environ: dict[str, str], other: TokenRequest) -> None:
    """Another request is not refused by what this one got."""
    KeptRefusal.of(REQUEST, IDENTITY, environ).keep(refused(), NOW)
    assert KeptRefusal.of(other, IDENTITY, environ).find(NOW) is None


def test_a_minted_token_is_the_same_identity(environ: dict[str, str]) -> None:
    """A source that mints a token each time is known by its claims; a token that is given, by itself."""
    first, second = (jwt(iss="https://ci.example", sub="a", jti=jti, iat=n, exp=n) for n, jti in enumerate("12"))
    other = jwt(iss="https://ci.example", sub="b", jti="3")
    for source, same in (("github-actions", True), ("token-file", False), ("gitlab", False)):
        KeptRefusal.of(REQUEST, Identity(source, first), environ).keep(refused(), NOW)
        assert (KeptRefusal.of(REQUEST, Identity(source, second), environ).find(NOW) is not None) is same
        assert KeptRefusal.of(REQUEST, Identity(source, other), environ).find(NOW) is None
        assert KeptRefusal.of(REQUEST, Identity(f"{source}-2", first), environ).find(NOW) is None


def test_another_aws_principal_is_asked(environ: dict[str, str]) -> None:
    """Without a token it is the AWS variables that tell principals apart."""
    signed = Identity("aws-sigv4", "")
    KeptRefusal.of(REQUEST, signed, {**environ, "AWS_PROFILE": "a"}).keep(refused(), NOW)
    assert KeptRefusal.of(REQUEST, signed, {**environ, "AWS_PROFILE": "a"}).find(NOW) is not None
    assert KeptRefusal.of(REQUEST, signed, {**environ, "AWS_PROFILE": "b"}).find(NOW) is None


def test_nothing_secret_is_kept(environ: dict[str, str], tmp_path: Path) -> None:
    """A file that only its owner can read, in such a folder, with the broker's words and no token."""
    kept = KeptRefusal.of(REQUEST, IDENTITY, environ)
    kept.keep(refused(), NOW)
    assert kept.path is not None
    (file,) = (one for one in tmp_path.rglob("*") if one.is_file())
    assert (file, file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (kept.path, 0o600, 0o700)
    token = IDENTITY.unverified_subject_token
    assert token not in file.read_text() + str(file)
    assert sorted(json.loads(file.read_text())) == [
        *("advice", "description", "error", "permanent", "request_id", "retry_after", "status", "until")
    ]


@pytest.mark.parametrize("how", ["mode", "link", "pipe", "json", "shape", "for long"])
def test_what_others_wrote_is_not_believed(environ: dict[str, str], tmp_path: Path, how: str) -> None:
    """A file that others could have written, that is none or that holds for longer, is not read."""
    kept = KeptRefusal.of(REQUEST, IDENTITY, environ)
    kept.keep(refused(), NOW)
    path = kept.path
    assert path is not None
    assert kept.find(NOW) is not None
    if how == "mode":
        path.chmod(0o644)
    elif how == "link":
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path, 0o600)
    elif how == "json":
        path.write_text("{")
    elif how == "shape":
        path.write_text(json.dumps({**json.loads(path.read_text()), "status": "403"}))
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), "until": NOW + 3600}))
    assert kept.find(NOW) is None


def test_a_token_ends_it(environ: dict[str, str]) -> None:
    """Once a token was issued, the refusal before it is forgotten."""
    kept = KeptRefusal.of(REQUEST, IDENTITY, environ)
    kept.keep(refused(), NOW)
    kept.forget()
    kept.forget()
    assert kept.find(NOW) is None


@pytest.mark.parametrize(
    "environ", [{}, {"HOME": "/nonexistent"}, {"HOME": "relative"}, {"XDG_CACHE_HOME": "/dev/null"}]
)
def test_no_place_is_no_error(environ: dict[str, str]) -> None:
    """Where nothing can be written, nothing is kept, no home is made, and nothing fails."""
    kept = KeptRefusal.of(REQUEST, IDENTITY, environ)
    kept.keep(refused(), NOW)
    kept.forget()
    assert kept.find(NOW) is None
    assert not Path("/nonexistent").exists()


def test_the_folder_does_not_grow(environ: dict[str, str]) -> None:
    """What is over is removed when the next one is kept."""
    first = KeptRefusal.of(REQUEST, IDENTITY, environ)
    first.keep(refused())
    assert first.path is not None
    os.utime(first.path, (time.time() - 60, time.time() - 60))
    second = KeptRefusal.of(replace(REQUEST, key="groq"), IDENTITY, environ)
    second.keep(refused())
    assert [one for one in (first, second) if one.path and one.path.exists()] == [second]


def test_an_administrator_ends_all_of_them(environ: dict[str, str]) -> None:
    """What changes something at a broker ends every refusal that this user has kept."""
    kept = KeptRefusal.of(REQUEST, IDENTITY, environ)
    kept.keep(refused(), NOW)
    forget_all(environ)
    forget_all({})
    assert kept.find(NOW) is None
