"""The table that is looked at at night: twelve principals as they really are called, at 120 and 80 columns."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from keybroker.cli import output, shortened, usage_tables
from keybroker.cli.plain_text import width

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.example.com"
CLUSTER = "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
WHO = [
    (f"{GITHUB}|repository_id:123456789", "octo-org/payments-service"),
    (f"{GITHUB}|repository_id:987654321", "octo-org/a-repository-with-quite-a-long-name-for-a-service"),
    (f"{GITHUB}|repository_id:555", "octo-org/evals"),
    (f"{GITLAB}|project_id:42", "platform/data/embeddings-backfill"),
    (f"{GITLAB}|project_id:555", "platform/web"),
    (
        f"{CLUSTER}|sub:system:serviceaccount:production:recommendations",
        "system:serviceaccount:production:recommendations",
    ),
    (f"{CLUSTER}|sub:system:serviceaccount:staging:recommendations", "system:serviceaccount:staging:recommendations"),
    ("arn:aws:iam::123456789012:role/nightly-summaries", "nightly-summaries"),
    ("arn:aws:iam::210987654321:role/nightly-summaries", "nightly-summaries"),
    ("https://agent.buildkite.com|pipeline_id:0184990a-477b-4fa8-9968-496074483cee", "acme/deploy"),
    (f"{GITHUB}|repository_id:66", "値札/価格"),
    (f"{GITHUB}|repository_id:67", "evil\n\x1b[2Jname\u202egnp.exe"),
]


def uses() -> list[dict[str, Any]]:
    return [
        {
            "principal": principal,
            "name": name,
            "grant": "summaries-in-production" if at % 3 else "ci",
            "key": "openai" if at % 2 else "anthropic-batch",
            "calls": 10 ** (at % 6),
            "tokens": at,
            "refused_calls": {"revoked_principal": at, "quota_calls_minute": 3} if at % 4 == 1 else {},
            "refused_tokens": {"no_grant": 1} if at == 2 else {},
            "last_seen": 1_795_523_640,
        }
        for at, (principal, name) in enumerate(WHO)
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_twelve_principals_take_a_screen(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each principal has one line that fits, tells it from all others, and controls no terminal."""
    monkeypatch.setattr(output, "_columns", lambda _stream: columns)
    found = uses()
    usage_tables.uses(found, shortened.principals({one["principal"] for one in found}))
    shown, told = capsys.readouterr()
    lines = shown.splitlines()
    assert len(lines) == 13
    assert max(map(width, lines)) <= columns
    assert len({tuple(re.split(" {2,}", line)[:2]) for line in lines}) == 13
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert told == "together: 222,222 calls (24 refused), 66 tokens (1 refused), by 12 principals\n"


def test_a_pipe_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no terminal gets every value whole: ids, reasons and times."""
    assert not sys.stdout.isatty()
    found = uses()
    usage_tables.uses(found, shortened.principals({one["principal"] for one in found}))
    shown = capsys.readouterr().out
    assert all(principal in shown for principal, _ in WHO)
    assert "1 revoked_principal, 3 quota_calls_minute" in shown
    assert "2026-11-24 12:34:00Z" in shown


def test_what_has_no_limit_of_money_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Of grants that do not limit money no cost is known, and the table of costs says so, and where their tokens are."""
    model = {"model": "gpt-5", "answers": 1, "unknown": 0, "input_tokens": 9, "output_tokens": 4, "cached_tokens": 0}
    tokens = {"used": 13, "reserved": 0}
    found = [
        {**one, "grant": grant, "models": models, "budgets": budgets}
        for one, grant, models, budgets in zip(
            uses(),
            ("limited", "counted", "free", "quiet"),
            ([model], [model], [model], []),
            ({"usage": tokens, "spend": {**tokens, "prices": "2026-11-14"}}, {"usage": tokens}, {}, {}),
            strict=False,
        )
    ]
    usage_tables.budgets(found)
    shown = capsys.readouterr()
    assert [line.split()[-4:] for line in shown.out.splitlines()[1:]] == [
        ["13", "0", "0.000013", "0.000000"],
        ["13", "0", "-", "-"],
    ]
    assert "counted only where a grant limits it; here not for counted, free\n" in shown.err
    assert "keybroker usage --models" in shown.err
    usage_tables.budgets(found[:1])
    assert capsys.readouterr().err == "usd: list prices as of 2026-11-14\n"


def test_prices_of_several_dates_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Each date of prices is named once; a broker from before they were noted names none."""
    spend: dict[str, Any] = {"used": 1, "reserved": 0}
    dated = [{**spend, "prices": date} for date in ("2026-11-14", "2026-08-01", "2026-11-14")]
    found = [
        {**one, "budgets": {"usage": spend, "spend": of}} for one, of in zip(uses(), [*dated, spend], strict=False)
    ]
    usage_tables.budgets(found)
    assert "usd: list prices as of 2026-08-01, 2026-11-14\n" in capsys.readouterr().err
    usage_tables.budgets(found[3:4])
    assert "list prices" not in capsys.readouterr().err
