"""`keybroker usage --mine`, over a running broker."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from keybroker import client
from keybroker.cli import output, own_usage
from keybroker.cli.command_error import REMOTE, CommandError
from keybroker.cli.own_usage import OwnUsage
from keybroker.cli.plain_text import width
from keybroker.cli.settings import Settings
from keybroker.errors import Refused
from keybroker.token import Token
from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import COMMAND, bare, job, run
from tests.running import Running

MINE = ("usage", "--mine", "--key", "openai")


def test_a_caller_sees_its_own(running: Running) -> None:
    """A job without an administrator's credentials sees its own calls and limits, and nobody else's."""
    environ = {**job(running), "KEYBROKER_URL": running.broker}
    token = run("token", "--key", "openai", environ=environ).out.strip()
    assert running.complete(token).status == 200
    running.complete(running.token("5501"))
    done = run(*MINE, "--output", "json", environ=environ)
    found = json.loads(done.out)
    assert (found["principal"].rpartition("|")[2], found["key"]) == ("repository_id:1234", "openai")
    other = run(
        *MINE, environ={**environ, "KEYBROKER_ID_TOKEN": running.mint("5501"), "KEYBROKER_IDENTITY": "environment"}
    )
    assert f"principal  {running.sub('5501')}" in other.out, other
    assert "LIMIT" in other.out
    assert token not in done.out + done.err + other.out


@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each limit and each model has one line, also at 80 columns."""
    monkeypatch.setattr(output, "_columns", lambda _stream: columns)
    own_usage._show(FOUND)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(width, lines[3:])) <= columns
    assert sum(line.startswith(("calls/", "tokens/", "model tokens/", "usd/")) for line in lines) == 5
    assert sum("gpt-5" in line for line in lines) == 2
    assert any("20.000000 1.250000 0.500000" in " ".join(line.split()) for line in lines)


def _limit(what: str, window: str, limit: int, used: int, reserved: int = 0) -> dict[str, Any]:
    left = {"left": limit - used - reserved, "resets": 1_800_000_059}
    return {"what": what, "window": window, "limit": limit, "used": used, "reserved": reserved, **left}


_MODEL = {"model": "gpt-5-mini-2026-10-01-with-a-name-as-long-as-they-come-these-days", "answers": 120_000}
_TOOK = {"unknown": 3, "input_tokens": 123_456_789, "output_tokens": 23_456_789, "cached_tokens": 100_000_000}
_USE = {"calls": 1_000_000, "refused_calls": {"quota_calls": 12, "out_of_scope": 3}, "tokens": 20, "refused_tokens": {}}
FOUND: dict[str, Any] = {
    "principal": "https://token.actions.githubusercontent.com|repository_id:123456789",
    "grant": "summaries-in-production",
    "key": "openai",
    "at": 1_800_000_000,
    "usage": [{"window": window, **_USE, "models": [{**_MODEL, **_TOOK}]} for window in ("hour", "day")],
    "limits": [
        _limit("calls", "minute", 1_000_000_000, 120),
        _limit("calls", "day", 1_000_000_000, 1_000_000),
        _limit("tokens", "hour", 60, 20),
        _limit("usage", "day", 1_000_000_000_000, 123_456_789, 2_000_000),
        _limit("spend", "day", 20_000_000, 1_250_000, 500_000),
    ],
}


@pytest.mark.parametrize(
    "more",
    [("--since", "1h"), ("--principal", "x"), ("--window", "hour"), ("--sort", "name"), ("--models",), ("--top", "3")],
)
def test_nobody_else_can_be_asked_for(more: tuple[str, ...]) -> None:
    """Options that choose whose or which usage do not go with --mine, and nothing is asked."""
    done = run(*MINE, *more, "--url", "http://127.0.0.1:9")
    assert (done.code, done.err) == (1, "error: --mine goes with --key, --grant and --watch alone\n")


def test_a_key_is_needed() -> None:
    """Without a key there is no token to ask with."""
    done = run("usage", "--mine", "--url", "http://127.0.0.1:9")
    assert (done.code, done.err.startswith("error: --mine asks with a token for a key")) == (1, True)


def _asking(monkeypatch: pytest.MonkeyPatch, answers: list[object], lives: int = 900) -> list[str]:
    """Have the broker answer these; return the tokens that were asked with."""
    asked: list[str] = []
    made = iter(range(100))

    def answer(_url: str, access_token: str, **_more: object) -> object:
        asked.append(access_token)
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(own_usage, "fetch", lambda _request: Token(f"token-{next(made)}", lives, "", ""))
    monkeypatch.setattr(client, "own_usage", answer)
    return asked


def _own() -> OwnUsage:
    return OwnUsage(replace(Settings(), url="https://broker.example", output="json"), {"key": "openai", "grant": None})


@pytest.mark.parametrize(("lives", "tokens"), [(900, 1), (20, 3)])
def test_one_token_for_many_looks(monkeypatch: pytest.MonkeyPatch, lives: int, tokens: int) -> None:
    """A token is used as long as it lives: --watch takes none of the quota with each look."""
    asked, own = _asking(monkeypatch, [FOUND] * 3, lives), _own()
    for _ in range(3):
        own.show()
    assert len(set(asked)) == tokens


def test_a_failing_broker_is_said_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 5xx is no refusal: the exit code says that the broker failed."""
    refused = Refused("temporarily_unavailable", "try again", 503, "req", 1)
    _asking(monkeypatch, [refused])
    with pytest.raises(CommandError) as caught:
        _own().show()
    assert caught.value.code == REMOTE


@pytest.mark.slow
def test_each_look_is_one_line(running: Running) -> None:
    """With --watch, JSON comes as one line each time."""
    environ = {**bare(), **job(running), "KEYBROKER_URL": running.broker}
    process = subprocess.Popen(
        [*COMMAND, *MINE, "--watch", "1", "--output", "json"], env=environ, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        found = [json.loads(process.stdout.readline()) for _ in range(2)]
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()
    assert [one["grant"] for one in found] == [found[0]["grant"]] * 2


def test_on_a_terminal(running: Running) -> None:
    """On a terminal the tables are shown as in a file."""
    code, shown = terminal.run(*MINE, environ={**job(running), "KEYBROKER_URL": running.broker})
    assert (code, "RESETS IN" in shown, "WINDOW" in shown) == (0, True, True)
