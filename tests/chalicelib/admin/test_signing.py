"""The administrators' routes of our own signing keys, over real keys and tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.errors import Refusal
from chalicelib.tokens import jws
from local.signing_key_file import SigningKeyFile
from local.start import Start
from tests.http_door import ADA, Door, admin_door, problem
from tests.parts import NOW, Parts

SIGNING = "/admin/signing"
NOBODYS = "x" * 43


def change(parts: Parts, action: str, kid: str = "", now: int = NOW, **more: str) -> Mapping[str, Any]:
    """Do one step at a time."""
    door = admin_door(parts, clock=lambda: now)
    answer = door.administer("POST", SIGNING, {"action": action, "kid": kid, **more})
    assert answer.status == 200, answer
    body: Mapping[str, Any] = answer.json
    return body


def statuses(door: Door) -> dict[str, str]:
    return {one["kid"]: one["status"] for one in door.administer("GET", SIGNING).json["items"]}


def refused(parts: Parts, token: str) -> str:
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    return caught.value.reason


def kid_of(token: str) -> str | None:
    return jws.parse(token).kid


def test_a_rotation_fails_no_call(parts: Parts, door: Door) -> None:
    """Over a rotation every token works until it ends: those of the old key, and those of the new one."""
    old = parts.signer.kid()
    before = parts.token()
    new = change(parts, "prepare")["kid"]
    assert (statuses(door), kid_of(parts.token())) == ({old: "live", new: "live"}, old)
    assert change(parts, "activate", new, NOW + 10)["status"] == "signing"
    after = parts.token()
    assert kid_of(after) == new
    for token in (before, after):
        parts.admit(token)
    assert change(parts, "retire", old, NOW + 3700)["changed"]
    assert (statuses(door), refused(parts, before)) == ({new: "signing"}, "kid_unknown")
    parts.admit(after)


def test_a_tainted_key_s_tokens_are_refused(parts: Parts, door: Door) -> None:
    """Tokens of a tainted key are refused by the very next call, also ones that were used before; new ones work."""
    old, token = parts.signer.kid(), parts.token()
    parts.admit(token)
    new = change(parts, "prepare")["kid"]
    assert change(parts, "taint", old, reason="it leaked")["status"] == "tainted"
    assert refused(parts, token) in ("kid_unknown", "signing_key_gone")
    assert statuses(door) == {new: "signing", old: "tainted"}
    parts.admit(parts.token())
    (event,) = parts.events(kind="signing.tainted")
    assert (event.actor, event.detail) == (ADA, {"kid": old, "reason": "it leaked"})
    assert old not in SigningKeyFile(parts.directory / "signing-key.pem").published()


def test_a_taint_is_finished(parts: Parts) -> None:
    """A taint whose key could not be deleted then is finished when it is sent again."""
    old, kept = parts.signer.kid(), (parts.directory / "signing-key.pem").read_bytes()
    change(parts, "prepare")
    text = (parts.directory / "signing-key.pem").read_bytes()
    change(parts, "taint", old, reason="it leaked")
    (parts.directory / "signing-key.pem").write_bytes(text)
    assert change(parts, "taint", old, reason="it leaked")["changed"] is False
    assert kept.strip() not in (parts.directory / "signing-key.pem").read_bytes()


def test_a_dry_run_changes_nothing(parts: Parts, door: Door) -> None:
    """A dry run makes no key, lists none, and leaves no event."""
    before = statuses(door)
    answer = door.administer("POST", SIGNING, {"action": "prepare"}, query={"dry_run": "true"})
    assert (answer.json["dry_run"], answer.json["kid"], answer.json["changed"]) == (True, "", True)
    assert statuses(door) == before
    assert parts.events(kind="signing.prepared") == ()


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ([], 400, "the body must be a JSON object"),
        ({"action": "prepare", "pem": "x"}, 400, "the body must be a JSON object"),
        ({"action": "publish", "kid": NOBODYS}, 400, "action must be one of"),
        ({"action": "__class__", "kid": NOBODYS}, 400, "action must be one of"),
        ({"action": ["taint"], "kid": NOBODYS}, 400, "action must be one of"),
        ({"action": "taint", "kid": NOBODYS}, 400, "reason must say why"),
        ({"action": "taint", "kid": NOBODYS, "reason": "x" * 2000}, 400, "reason must be text"),
        ({"action": "activate"}, 400, "kid must be"),
        ({"action": "activate", "kid": 7}, 400, "kid must be"),
        ({"action": "prepare", "kid": NOBODYS}, 400, "kid must be that of a published signing key"),
        ({"action": "activate", "kid": NOBODYS}, 404, "no signing key of this kid is live"),
    ],
    ids=lambda one: json.dumps(one)[:40] if isinstance(one, dict | list) else "",
)
def test_what_is_no_step_is_refused(door: Door, body: object, status: int, told: str) -> None:
    """What the body says has to be one step with one key; the text says what is wrong."""
    answer = problem(door.administer("POST", SIGNING, body))
    assert (answer[0], told in answer[2]) == (status, True), answer


def test_the_last_key_stays(parts: Parts, door: Door) -> None:
    """The only live key cannot be tainted: no token could be issued; the text says what to do first."""
    answer = problem(
        door.administer("POST", SIGNING, {"action": "taint", "kid": parts.signer.kid(), "reason": "it leaked"})
    )
    assert answer[:2] == (409, "no_other_signing_key")
    assert "prepare one first" in answer[2]


def test_no_answer_holds_a_private_key(parts: Parts, door: Door) -> None:
    """Neither the list nor a step, nor what is written of it, holds a private key."""
    change(parts, "prepare")
    secrets = [line for line in (parts.directory / "signing-key.pem").read_text().splitlines() if "-----" not in line]
    said = str(door.administer("GET", SIGNING).body) + str(parts.events()) + repr(parts.signer)
    assert not [one for one in secrets if one in said]


def test_nobody_else_changes_them(door: Door) -> None:
    """Without a signature that API Gateway has verified, nothing is answered."""
    for method, body in (("GET", None), ("POST", {"action": "prepare"})):
        assert door.ask(method, SIGNING, body).status in (401, 403)


def test_a_key_that_is_gone_is_not_activated(parts: Parts, door: Door) -> None:
    """A key that is listed, and whose private half is not there any more, cannot sign, and so is not activated."""
    new = change(parts, "prepare")["kid"]
    parts.signer.keep_only([parts.signer.kid()])
    late = admin_door(parts, clock=lambda: NOW + 10)
    answer = problem(late.administer("POST", SIGNING, {"action": "activate", "kid": new}))
    assert answer[:2] == (404, "not_found")
    assert statuses(door)[new] == "live"
    parts.admit(parts.token())


class _Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("action", ["prepare", "taint", "retire"])
@pytest.mark.parametrize("point", ["change_signing_keys", "listed", "write"])
def test_a_step_that_was_cut_off_leaves_no_private_key(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, action: str, point: str
) -> None:
    """Cut off before the list, behind it, or before the file: the next step, and the next start, delete what no list names."""
    old, new = parts.signer.kid(), change(parts, "prepare")["kid"]
    change(parts, "activate", new, NOW + 10)
    real = type(parts.control).change_signing_keys

    def killed(*given: Any) -> None:  # noqa: ANN401  as the real ones
        if point == "listed":
            real(*given)
        raise _Killed

    with monkeypatch.context() as patch:
        if point == "write":
            patch.setattr("local.sealed_file.write", killed)
        else:
            patch.setattr(type(parts.control), "change_signing_keys", killed)
        with pytest.raises(_Killed):
            change(parts, action, "" if action == "prepare" else old, NOW + 3700, reason="a test")
    path = parts.directory / "signing-key.pem"
    copy = path.read_bytes()
    listed = {*parts.control.signing_key_list().live}
    _start(parts).signing_keys(SigningKeyFile(path))
    assert {*SigningKeyFile(path).published()} == listed
    path.write_bytes(copy)
    made = change(parts, "prepare", now=NOW + 3800)["kid"]
    assert {*SigningKeyFile(path).published()} == {*listed, made} == {*parts.control.signing_key_list().live}
    parts.admit(parts.token())


def _start(parts: Parts) -> Start:
    nothing: Any = None
    return Start(parts.control, nothing, nothing, nothing, nothing, nothing)


def test_a_key_is_not_deleted_under_its_preparation(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that one administrator prepares is not deleted by another's step, which waits until it is listed."""
    old, path = parts.signer.kid(), parts.directory / "signing-key.pem"
    new = change(parts, "prepare")["kid"]
    change(parts, "activate", new, NOW + 10)
    made, goes_on = threading.Event(), threading.Event()
    real = type(parts.control).change_signing_keys

    def slowly(*given: Any) -> None:  # noqa: ANN401  as the real one
        if not made.is_set():
            made.set()
            assert goes_on.wait(10)
        real(*given)

    monkeypatch.setattr(type(parts.control), "change_signing_keys", slowly)
    with ThreadPoolExecutor(2) as pool:
        preparing = pool.submit(change, parts, "prepare", "", NOW + 3700)
        assert made.wait(10)
        other = admin_door(parts, clock=lambda: NOW + 3700, signing_key_store=SigningKeyFile(path))
        retiring = pool.submit(other.administer, "POST", SIGNING, {"action": "retire", "kid": old})
        assert len(SigningKeyFile(path).published()) == 3
        with pytest.raises(TimeoutError):
            retiring.result(0.2)
        goes_on.set()
        third = preparing.result(10)["kid"]
        assert retiring.result(10).status == 200
    assert {*SigningKeyFile(path).published()} == {new, third} == {*parts.control.signing_key_list().live}
