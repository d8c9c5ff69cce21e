from __future__ import annotations

from collections.abc import Callable

import pytest

from infra.aws_cli import AwsCommandError
from infra.verify import __main__ as program
from infra.verify.installed import FailedError, Installed, NotCheckedError
from infra.verify.rows import ROWS, Row
from keybroker.errors import Refused, Unreachable
from tests.infra.preflight.answering import ABSENT, PROD, Answering

URLS = {name: f"https://{name}.example.com" for name in ("broker", "edge", "admin")}


def installed(key: str = "openai") -> Installed:
    return Installed(PROD, Answering(), URLS, key, lambda: "", lambda _method, _url, headers, _body: headers)


def raising(fault: Exception) -> Callable[[Installed], None]:
    def check(_one: Installed) -> None:
        raise fault

    return check


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        (FailedError("HTTP 200"), "FAIL"),
        (Unreachable("no answer"), "FAIL"),
        (NotCheckedError("no domain"), "-"),
        (AwsCommandError("not\nallowed"), "-"),
    ],
)
def test_a_row_fails_or_says_why_it_was_not_checked(fault: Exception, how: str) -> None:
    """What does not hold and what does not answer fails; what may not be asked is not called a pass."""
    found, said = program.outcome(Row("a row", raising(fault)), installed())
    assert (found, said) == (how, " ".join(str(fault).split()))


def test_a_row_that_holds_passes() -> None:
    assert program.outcome(Row("a row", lambda _one: None), installed()) == ("pass", "")


def test_without_a_key_no_token_is_asked_for() -> None:
    """Without a key, the rows that take a token are not checked, and say what to name."""
    for row in ROWS:
        if row.key:
            how, said = program.outcome(row, installed(key=""))
            assert (how, "KEY=NAME" in said) == ("-", True)


def test_a_failure_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 1 exactly if a row fails."""
    monkeypatch.setattr(program, "find", lambda *_given: installed())
    arguments = ["prod", "--region", "eu-central-1"]
    for rows, code in (
        ((Row("a", lambda _one: None), Row("b", why="by a person")), 0),
        ((Row("a", lambda _one: None), Row("b", raising(FailedError("not so")))), 1),
    ):
        monkeypatch.setattr(program, "ROWS", rows)
        assert program.main(arguments) == code
    assert capsys.readouterr().out.splitlines() == [
        "pass  a",
        "-     b: by hand: by a person",
        "pass  a",
        "FAIL  b: not so",
    ]


def test_a_stage_that_is_not_deployed_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "AwsCli", lambda: Answering(cloudformation__describe_stacks=ABSENT))
    assert program.main(["prod", "--region", "eu-central-1"]) == 1
    assert capsys.readouterr().err.startswith("error: An error occurred (ValidationError)")


def test_no_grant_is_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller whom no grant admits learns that; a broker that fails is a failure."""

    def refuse(*_given: object, **_named: object) -> None:
        raise Refused("access_denied", "no grant", status, "", None)

    monkeypatch.setattr(program, "exchange_signature", refuse)
    status = 403
    with pytest.raises(NotCheckedError, match="no token for openai for this AWS identity"):
        program.token(URLS["broker"], "openai", "eu-central-1")
    status = 503
    with pytest.raises(Refused):
        program.token(URLS["broker"], "openai", "eu-central-1")
