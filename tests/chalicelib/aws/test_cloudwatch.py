from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from chalicelib.aws import cloudwatch
from chalicelib.aws.cloudwatch import LoggedLedger
from chalicelib.errors import Refusal
from tests.parts import KEY_VALUE, SUB, Parts, mint

LOG = logging.getLogger("keybroker")


@pytest.fixture(autouse=True)
def started() -> Iterator[None]:
    before = list(LOG.handlers), LOG.propagate
    cloudwatch.start("public")
    yield
    LOG.handlers, LOG.propagate = before


def written(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the line and the metric that were written."""
    line, metric = map(json.loads, capsys.readouterr().out.splitlines())
    return line, metric


def log(**line: object) -> None:
    LOG.info(json.dumps({"door": "public", "status": 400, "request_id": "request-1", **line}))


def dimensions(metric: Mapping[str, Any]) -> list[list[str]]:
    return [sorted(one) for one in metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"]]


def test_a_refusal_is_a_json_line_that_its_request_id_finds(capsys: pytest.CaptureFixture[str]) -> None:
    log(reason="replayed")
    line, _ = written(capsys)
    assert (line["correlation_id"], line["service"], line["level"]) == ("request-1", "keybroker-public", "INFO")
    assert line["message"] == {"door": "public", "reason": "replayed", "status": 400, "request_id": "request-1"}


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        ({"reason": "replayed", "key": "openai"}, ("refused", "openai", "replayed")),
        ({"reason": "alg_wrong"}, ("refused", "none", "alg_wrong")),
        ({"reason": "state_unavailable", "status": 503}, ("failed", "none", "state_unavailable")),
        ({"outcome": "issued", "status": 200, "key": "openai"}, ("issued", "openai", "none")),
    ],
)
def test_each_line_is_counted_by_outcome_and_by_key_and_reason(
    capsys: pytest.CaptureFixture[str], line: dict[str, object], counted: tuple[str, ...]
) -> None:
    log(**line)
    _, metric = written(capsys)
    assert tuple(metric[name] for name in ("outcome", "key", "reason")) == counted
    assert dimensions(metric) == [["outcome", "service"], ["key", "outcome", "reason", "service"]]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Keybroker"
    assert (metric["Answers"], metric["request_id"]) == ([1.0], "request-1")


def test_what_else_a_line_says_makes_no_dimension(capsys: pytest.CaptureFixture[str]) -> None:
    log(reason="replayed", grant="app", principal="alice", jti="id-1")
    _, metric = written(capsys)
    assert not {"grant", "principal", "jti"} & metric.keys()


def test_a_line_that_cannot_be_read_is_neither_repeated_nor_raised(capsys: pytest.CaptureFixture[str]) -> None:
    LOG.info("no JSON, and perhaps a key: %s", KEY_VALUE)
    said = capsys.readouterr().out
    assert json.loads(said)["message"] == "a log line could not be written"
    assert KEY_VALUE not in said


def test_starting_again_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    cloudwatch.start("public")
    log(reason="replayed")
    written(capsys)


def test_a_token_issued_is_a_line_with_its_ids_and_never_the_token(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = mint()
    issued = parts.exchange(subject, ledger=LoggedLedger(parts.ledger))
    said = capsys.readouterr().out
    line = json.loads(said.splitlines()[0])["message"]
    (event,) = parts.events(kind="token.issued")
    assert (line["outcome"], line["key"], line["jti"]) == ("issued", "openai", event.jti)
    assert issued.access_token not in said
    assert subject not in said


def test_a_retry_is_a_line_of_the_token_that_was_issued_before(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    subject, once = mint(), "0123456789abcdef0123456789abcdef"
    for _ in range(2):
        parts.exchange(subject, ledger=LoggedLedger(parts.ledger), idempotency_key=once)
    lines = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    jtis = [one["message"]["jti"] for one in lines if "message" in one]
    assert len(jtis) == 2
    assert jtis[0] == jtis[1]


def test_what_was_not_written_is_not_said_to_be_issued(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    subject = mint()
    parts.exchange(subject)
    with pytest.raises(Refusal, match="replayed"):
        parts.exchange(subject, ledger=LoggedLedger(parts.ledger))
    assert capsys.readouterr().out == ""


def test_a_refusal_s_line_names_the_grant(parts: Parts) -> None:
    """A refusal's log line says whose it was once there is a grant, and nothing before."""
    subject = mint()
    parts.exchange(subject)
    with pytest.raises(Refusal) as replayed:
        parts.exchange(subject)
    assert replayed.value.about == {"key": "openai", "grant": "app", "principal": SUB}
    with pytest.raises(Refusal) as stranger:
        parts.exchange(mint(repository_owner_id="1"))
    assert stranger.value.about == {}, "what was asked for is the caller's own text, and would be a metric's dimension"


def test_powertools_is_imported_late() -> None:
    """Powertools is not imported before there is something to log."""
    program = "import sys; from chalicelib.aws import cloudwatch; cloudwatch.start('public'); print('aws_lambda_powertools' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
