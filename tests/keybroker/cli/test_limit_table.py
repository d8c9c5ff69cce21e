"""How a principal's limits stand, over a broker that says what a test gave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from keybroker.cli import limit_table, output
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.plain_text import width

NOW = 1_800_000_000


class _Broker(AdminClient):
    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  as there
        assert (path, query) == ("/admin/policy/grants", {"grant": "app"})
        limits = [("calls", "minute", 100, False), ("calls", "day", 9, True), ("usage", "day", 1000, False)]
        names = ("what", "window", "limit", "shared")
        return {"items": [{"name": "app", "limits": [dict(zip(names, one, strict=True)) for one in limits]}]}

    def items(self, path: str, query: Mapping[str, object], most: int | None = None) -> Iterator[Any]:  # noqa: ARG002  as there
        assert path == "/admin/usage"
        assert (query["principal"], query["at"]) == ("alice", NOW)
        yield {"grant": "other", "calls": 99, "tokens": 99, "budgets": {}}
        if query["window"] == "day":
            yield {"grant": "app", "calls": 5, "tokens": 1, "budgets": {"usage": {"used": 40, "reserved": 10}}}


def test_limits_of_one_principal() -> None:
    """Its own limits are told with its own use of that grant; those of all callers together are not its own."""
    found = limit_table.read(_Broker("http://broker.example"), "alice", ["app"], NOW)
    assert [(one["what"], one["used"], one["reserved"], one["left"]) for one in found] == [
        ("calls", 0, 0, 100),
        ("usage", 40, 10, 950),
    ]
    assert [one["resets"] - NOW for one in found] == [60, 57_600]


def test_a_broker_from_before_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not tell limits yet has none to show."""
    monkeypatch.setattr(_Broker, "get", lambda *_arguments: {"items": [{"name": "app"}]})
    assert limit_table.read(_Broker("http://broker.example"), "alice", ["app"], NOW) == []


@pytest.mark.parametrize("columns", [80, 120])
def test_they_fit(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the grant in front each limit has one line, however high it is."""
    monkeypatch.setattr(output, "_columns", lambda _stream: columns)
    most = {"limit": 10**12, "used": 123_456_789, "reserved": 2_000_000, "left": 999_874_543_211, "resets": NOW + 3540}
    one = {"what": "usage", "window": "minute", **most}
    output.rows(("grant", *limit_table.HEADINGS), [("summaries-in-production", *limit_table.row(one, NOW))])
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), max(map(width, lines)) <= columns) == (2, True), lines
