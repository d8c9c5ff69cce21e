"""The broker's refusal, kept for some seconds: coding assistants run `keybroker token` up to 25 times within eight seconds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from keybroker.ambient import AWS_SIGV4, Identity
from keybroker.claims import unverified_claims
from keybroker.errors import BUSY, Refused
from keybroker.json_object import read_json_object
from keybroker.token import TokenRequest

SECONDS = 10.0
"""For which a refusal is kept at most: a grant that was opened a moment ago is noticed after them."""
_LIMIT = 64 * 1024
"""Bytes of a file at most."""
_MINTED = ("github-actions", "buildkite", "google", "aws-web-identity")
"""Sources that give another token each time, for the same claims but these."""
_OF_ONE_TOKEN = ("iat", "nbf", "exp", "jti")
_SUFFIX = ".refused"
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""No symbolic link is followed, a named pipe does not block, and no child inherits it."""


@dataclass(frozen=True, slots=True)
class KeptRefusal:
    """Where the refusal of one request of one identity is kept. path: None where there is no place for it."""

    path: Path | None

    @classmethod
    def of(cls, request: TokenRequest, identity: Identity, environ: Mapping[str, str] = os.environ) -> KeptRefusal:
        """Return the place for what this request of this identity gets."""
        folder = _folder(environ)
        # SECURITY: of an identity only its digest is kept (test_nothing_secret_is_kept).
        text = json.dumps([asdict(request), identity.source, _who(identity, environ)], sort_keys=True)
        return cls(folder and folder / f"{hashlib.sha256(text.encode()).hexdigest()}{_SUFFIX}")

    def find(self, now: float | None = None) -> Refused | None:
        """Return the refusal, if it is not over. now: epoch seconds; a clock that was set back ends it, too."""
        members = _read(self.path) if self.path else {}
        until, moment = members.get("until"), time.time() if now is None else now
        if not isinstance(until, int | float) or not moment < until <= moment + SECONDS:
            return None
        return _refusal(members)

    def keep(self, refused: Refused, now: float | None = None) -> None:
        """Keep a refusal for as long as it holds, SECONDS at most; where that cannot be written, it is not kept."""
        seconds = _seconds(refused)
        if self.path is None or seconds <= 0:
            return
        members = {
            "until": (time.time() if now is None else now) + seconds,
            "error": refused.error,
            "description": refused.description,
            "status": refused.status,
            "request_id": refused.request_id,
            "retry_after": refused.retry_after,
            "permanent": refused.permanent,
            "advice": refused.advice,
        }
        with contextlib.suppress(OSError):  # a disk that is full or read-only costs the broker a request, and no more
            _remove(self.path.parent, older_than=SECONDS)
            _write(self.path, json.dumps(members))

    def forget(self) -> None:
        """Forget the refusal: a token was issued since."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def forget_all(environ: Mapping[str, str] = os.environ) -> None:
    """Forget every refusal of this user: something was changed at a broker."""
    folder = _folder(environ)
    if folder is not None:
        _remove(folder, older_than=-1.0)


def _seconds(refused: Refused) -> float:
    temporary = refused.error == BUSY or (refused.status >= 500 and not refused.permanent)
    longest = 0.0 if temporary else SECONDS
    return longest if refused.retry_after is None else min(SECONDS, refused.retry_after)


def _who(identity: Identity, environ: Mapping[str, str]) -> object:
    """Return what tells one identity from another, and a token that was refused from the next one."""
    token = identity.unverified_subject_token
    if identity.source == AWS_SIGV4:
        hidden = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        return sorted(
            (name, value) for name, value in environ.items() if name.startswith("AWS_") and name not in hidden
        )
    if identity.source in _MINTED:
        return {name: value for name, value in unverified_claims(token).items() if name not in _OF_ONE_TOKEN} or token
    return token


def _folder(environ: Mapping[str, str]) -> Path | None:
    cache, home = Path(environ.get("XDG_CACHE_HOME", "")), Path(environ.get("HOME") or environ.get("USERPROFILE") or "")
    if cache.is_absolute():  # the XDG specification: a relative one is ignored
        return cache / "keybroker"
    return home / ".cache" / "keybroker" if home.is_absolute() and home.is_dir() else None


def _read(path: Path) -> Mapping[str, object]:
    """Return what is kept, nothing if there is nothing, or what is there is not safely ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _SAFE)
    except OSError:
        return {}
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        # SECURITY: another user's words must not pass for the broker's (test_what_others_wrote_is_not_believed).
        owned = not hasattr(os, "geteuid") or (about.st_uid == os.geteuid() and not about.st_mode & 0o077)
        return read_json_object(file.read(_LIMIT)) if owned and stat.S_ISREG(about.st_mode) else {}


def _refusal(members: Mapping[str, object]) -> Refused | None:
    error, description, request_id, advice = (
        members.get(name) for name in ("error", "description", "request_id", "advice")
    )
    status, wait = members.get("status"), members.get("retry_after")
    if not isinstance(error, str) or not isinstance(description, str) or not isinstance(request_id, str):
        return None
    if type(status) is not int or not (wait is None or type(wait) is int):
        return None
    refused = Refused(error, description, status, request_id, wait)
    refused.permanent = members.get("permanent") is True
    refused.advice = advice if isinstance(advice, str) else ""
    return refused


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=_SUFFIX)  # readable for its owner only
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _remove(folder: Path, older_than: float) -> None:
    """Remove what is older than so many seconds, so that the folder does not grow with each identity token."""
    for one in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # another process was faster
            if abs(time.time() - one.stat().st_mtime) > older_than:
                one.unlink()
