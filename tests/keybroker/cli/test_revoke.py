from __future__ import annotations

import json

import pytest

from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running


@pytest.mark.parametrize(
    ("answer", "code", "last"),
    [
        ("n\n", 1, "error: nothing was changed"),
        ("\n", 1, "error: nothing was changed"),
        (terminal.CTRL_C, 130, "interrupted"),
    ],
)
def test_everything_is_confirmed(running: Running, answer: str, code: int, last: str) -> None:
    """At a terminal, revoking everything needs a confirmation; anything but yes changes nothing."""
    environ = {**administrator(running), "NO_COLOR": "1"}
    ended, shown = terminal.run("revoke", "everything", "--reason", "x", environ=environ, typed={"[y/N]: ": answer})
    assert (ended, shown.splitlines()[-1]) == (code, last)
    assert (
        json.loads(run("revocations", "--scope", "everything", "--output", "json", environ=administrator(running)).out)
        == []
    )


def test_a_reason_is_required(running: Running) -> None:
    """A revocation needs a reason."""
    done = run("revoke", "grant", "ci", environ=administrator(running))
    assert (done.code, done.err.splitlines()[0]) == (1, "error: Missing option '--reason'.")


def test_a_leaked_token_is_read_from_stdin(running: Running) -> None:
    """A leaked token is revoked without being on the command line."""
    token = running.token("3007")
    revoke = ("revoke", "token", "-", "--reason", "found in a log")
    done = run(*revoke, environ=administrator(running), stdin=f"{token}\n")
    assert (done.code, running.complete(token).status) == (0, 403)
    assert token not in done.out + done.err
    assert run(*revoke, environ=administrator(running), stdin="sk-1\n").code == 1


def test_a_token_is_revoked_by_its_jti(running: Running) -> None:
    """A token is revoked by its jti, and no other is."""
    first, second = running.token("3003"), running.token("3003")
    shown = run("principals", "show", running.sub("3003"), "--output", "json", environ=administrator(running))
    newest = json.loads(shown.out)["live_tokens"][0]["jti"]
    assert run("revoke", "token", "--reason", "a test", "--", newest, environ=administrator(running)).code == 0
    assert sorted(running.complete(token).status for token in (first, second)) == [200, 403]
