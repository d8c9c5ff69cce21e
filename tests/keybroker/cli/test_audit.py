"""`keybroker audit`: how much of it is read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from keybroker.cli import program
from keybroker.cli.admin_client import AdminClient

DAY = 86400


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, object]]:
    """What the broker is asked for."""
    found: list[Mapping[str, object]] = []

    def items(_self: AdminClient, _path: str, query: Mapping[str, object], _most: int | None = None) -> Iterator[Any]:
        found.append(dict(query))
        return iter(())

    monkeypatch.setattr(AdminClient, "items", items)
    monkeypatch.setenv("KEYBROKER_URL", "https://broker.example")
    return found


@pytest.mark.parametrize("option", [("--name", "octo"), ("--reason", "replayed")])
def test_a_day_is_looked_through(
    asked: list[Mapping[str, Any]], option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the broker does not filter by is looked for in the last 24 hours, which is said."""
    now = int(time.time())
    assert program.run(["audit", *option]) == 0
    assert now - DAY <= asked[0]["since"] <= int(time.time()) - DAY
    assert "--since TIME looks further back" in capsys.readouterr().err


def test_a_day_before_the_end(asked: list[Mapping[str, Any]]) -> None:
    """With an end, it is the 24 hours before it."""
    assert program.run(["audit", "--name", "octo", "--until", "1800000000"]) == 0
    assert (asked[0]["since"], asked[0]["until"]) == (1_800_000_000 - DAY, 1_800_000_000)


@pytest.mark.parametrize(("more", "since"), [(("--since", "1790000000", "--name", "x"), 1_790_000_000), ((), None)])
def test_what_is_asked_for_is_read(
    asked: list[Mapping[str, Any]], more: tuple[str, ...], since: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """--since is kept as it is; a list that the broker cuts by its limit has no such bound, and nothing is said."""
    assert program.run(["audit", *more]) == 0
    assert asked[0]["since"] == since
    assert "looking from" not in capsys.readouterr().err
