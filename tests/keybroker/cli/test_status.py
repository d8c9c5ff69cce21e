"""`keybroker status`: the proof that a principal is cut off, over a running broker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keybroker.cli import status
from keybroker.cli.admin_client import AdminClient
from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import POLICY, Running, start


def test_who_is_cut_off_is_shown_to_be(running: Running) -> None:
    """An active principal is said to be one; once it is revoked, who did it, why and what was refused since is told."""
    environ, token = administrator(running), running.token("4301")
    assert running.complete(token).status == 200
    before = run("status", "repository_id:4301", environ=environ)
    assert (before.code, before.out.startswith("active: ")) == (0, True), before
    assert "1 token alive; 1 call this hour, 0 refused" in before.out
    running.revoke("principal", running.sub("4301"), reason="a drill")
    assert running.complete(token).status == 403
    after = run("status", "repository_id:4301", environ=environ)
    assert after.code == 3
    assert after.out.startswith(f"cut off: octo-org/octo-repo ({running.sub('4301')}): revoked ")
    assert ": a drill; calls since: " in after.out
    assert len(after.out.splitlines()) == 1
    found = json.loads(run("status", running.sub("4301"), "--output", "json", environ=environ).out)
    assert (found["state"], found["since"]["calls_refused"]) == ("cut off", 1)
    assert found["since"]["calls_admitted"] in (None, 0)
    assert [one["reason"] for one in found["revocations"]] == ["a drill"]


def test_one_grant_of_two_is_not_all(running: Running) -> None:
    """A principal whose only key is frozen is cut off; one that a grant for another key admits is not, and both are said."""
    environ = administrator(running)
    for key in ("openai", "anthropic"):
        running.token("4302", audience=key)
    running.token("4303", owner="7")
    running.token("4305")
    frozen = running.revoke("key", "openai", reason="a drill")
    try:
        one, both, unused = (run("status", f"repository_id:{id_}", environ=environ) for id_ in ("4303", "4302", "4305"))
    finally:
        running.administer("DELETE", f"/admin/revocations/{frozen}")
    assert (one.code, "revoked (key openai) " in one.out) == (3, True), one
    for active in (both, unused):
        assert (active.code, active.out.startswith("active: ")) == (0, True), active
        assert "; key openai is revoked " in active.out
        assert active.out.endswith(": a drill\n")
    assert "1 token alive (1 more unexpired, but refused)" in both.out


def test_nobody_is_not_found(running: Running) -> None:
    """A principal that was never seen is said not to be known, by another exit code than that of one that is cut off."""
    done = run("status", "repository_id:999999", environ=administrator(running))
    assert (done.code, "no principal with this id is known" in done.err) == (1, True)


def test_no_leave_is_no_proof(running: Running) -> None:
    """Who may not look is told so by another exit code than that of one that is cut off."""
    running.token("4306")
    stranger = {**administrator(running), "AWS_SECRET_ACCESS_KEY": "made-up"}
    done = run("status", running.sub("4306"), environ=stranger)
    assert (done.code, done.out) == (1, ""), done


@pytest.mark.slow
def test_whom_no_grant_admits_is_told(tmp_path: Path) -> None:
    """Once a policy takes its grant away, a principal is said not to be admitted, and its tokens not to be alive."""
    with start(directory=tmp_path) as running:
        environ, token = administrator(running), running.token("4307", owner="7")
        running.token("4308")
        assert run("status", "repository_id:4307", environ=environ).out.startswith("active: ")
        policy = tmp_path / "policy.yaml"
        policy.write_text(POLICY[: POLICY.index("  small:")])
        assert run("policy", "apply", str(policy), environ=environ).code == 0
        assert running.complete(token).status == 403
        done = run("status", "repository_id:4307", environ=environ)
        assert (done.code, done.out.startswith("not admitted: ")) == (0, True), done
        assert "no grant of policy version 2 admits what it has shown; 1 unexpired token refused" in done.out
        shown = run("principals", "show", "repository_id:4307", environ=environ)
        assert "admitted by  no grant of policy version 2\n" in shown.out
        assert "unexpired, but refused: 1 token" in shown.err
        assert "LIVE TOKEN" not in shown.out
        assert run("status", "repository_id:4308", environ=environ).out.startswith("active: ")


@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_a_terminal(running: Running, columns: int) -> None:
    """On a terminal no line of it is longer than that, and nothing is left out."""
    environ = {**administrator(running), "COLUMNS": str(columns)}
    sub = running.sub(str(4320 + columns))
    running.token(str(4320 + columns))
    running.revoke("principal", sub, reason="a drill with a reason that is long enough for a second line")
    code, shown = terminal.run("status", sub, environ=environ)
    lines = shown.splitlines()
    assert (code, len(lines) > 1, max(map(len, lines)) <= columns) == (3, True, True), lines
    assert all(line.startswith("  ") for line in lines[1:])
    assert "a drill with a reason that is long enough for a second line" in " ".join(map(str.strip, lines))


def test_a_list_in_part_is_read_whole() -> None:
    """Where the broker names the wide revocations in part, the list of them is read: who is cut off by one is never active."""
    asked: list[str] = []

    class Listing(AdminClient):
        def items(self, path: str, query: Mapping[str, object], most: int | None = None) -> Iterator[Any]:  # noqa: ARG002  as there
            asked.append(path)
            yield from [{"scope": query["scope"], "target": "*"}] if query["scope"] == "everything" else []

    client = Listing("http://broker.example")
    assert status._frozen(client, {"frozen": [], "complete": True}) == []
    assert not asked
    found = status._frozen(client, {"frozen": [], "complete": False})
    assert [one["scope"] for one in found] == ["everything"]


def test_a_name_controls_no_terminal(running: Running) -> None:
    """What a principal calls itself cannot move the cursor, nor begin a line of its own."""
    name = "x\x1b[2K\ncut off: y"
    running.exchange(running.mint("4304", repository=name))
    done = run("status", running.sub("4304"), environ=administrator(running))
    assert done.out.startswith("active: x\\x1b[2K\\ncut off: y ("), done
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize(("now", "admitted"), [(1_000_050, None), (1_000_090, 7)])
def test_admitted_is_counted_after_its_minute(now: int, admitted: int | None) -> None:
    """Calls admitted since a revocation are those of the minutes after its own; before those begin, nothing is claimed."""

    class Counting(AdminClient):
        def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401, ARG002  as there
            assert query == {"series": "minute", "since": 1_000_020, "until": now, "principal": "x"}
            later = [{"start": 1_000_080, "calls": 7, "refused_calls": {"revoked_principal": 2}}]
            own = {"start": 1_000_020, "calls": 5, "refused_calls": {"stale_token": 1, "quota_calls_minute": 9}}
            return {"items": [own, *(later if now >= 1_000_080 else [])]}

    since = status.calls_since(Counting("http://broker.example"), "x", 1_000_040, now)
    assert since == {"from": 1_000_080, "calls_admitted": admitted, "calls_refused": 1 if admitted is None else 3}
    assert ("7 admitted" if admitted else "told from") in status._proof(since)


def test_how_each_limit_stands(running: Running) -> None:
    """With --limits each limit of the principal's grants is told, with what is used and left of it."""
    environ, token = administrator(running), running.token("4311")
    assert running.complete(token).status == 200
    running.complete(running.token("4312"))
    done = run("status", "repository_id:4311", "--limits", environ=environ)
    first, _, heading, *rows = done.out.splitlines()
    assert (done.code, first.startswith("active: ")) == (0, True), done
    assert heading.split() == ["GRANT", "LIMIT", "OF", "USED", "RESERVED", "LEFT", "RESETS", "IN"]
    found = json.loads(run("status", "repository_id:4311", "--limits", "--output", "json", environ=environ).out)
    assert len(found["limits"]) == len(rows) > 1
    used = {(one["what"], one["window"]): one["used"] for one in found["limits"] if one["window"] != "minute"}
    assert set(used.values()) == {1}, used
    assert all(one["left"] == one["limit"] - one["used"] - one["reserved"] for one in found["limits"])
    assert "limits" not in json.loads(run("status", "repository_id:4311", "--output", "json", environ=environ).out)
