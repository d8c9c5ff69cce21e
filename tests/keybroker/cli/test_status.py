"""`keybroker status`: the proof that a principal is cut off, over a running broker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from keybroker.cli import status
from keybroker.cli.admin_client import AdminClient
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running


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
    """A principal whose grant is frozen is cut off; one that used another grant, too, is not."""
    environ = administrator(running)
    for key in ("openai", "anthropic"):
        running.token("4302", audience=key)
    running.token("4303")
    frozen = running.revoke("key", "openai", reason="a drill")
    try:
        one, both = (run("status", f"repository_id:{number}", environ=environ) for number in ("4303", "4302"))
    finally:
        running.administer("DELETE", f"/admin/revocations/{frozen}")
    assert (one.code, "revoked (key openai) " in one.out) == (3, True), one
    assert (both.code, both.out.startswith("active: ")) == (0, True), both


def test_nobody_is_not_found(running: Running) -> None:
    """A principal that was never seen is said not to be known."""
    done = run("status", "repository_id:999999", environ=administrator(running))
    assert (done.code, "no principal with this id is known" in done.err) == (3, True)


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
