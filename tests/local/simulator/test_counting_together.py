"""Calls of one turn of the event loop that are counted in one transaction: each is decided as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chalicelib.edge import admission
from chalicelib.edge.admission import Begun, Edge
from chalicelib.edge.call import Call
from chalicelib.edge.door import EdgeDoor
from chalicelib.edge.state import Counted, Wanted
from chalicelib.errors import Refusal, StateUncertain
from chalicelib.models.body import CallBody
from local.simulator import counting_together
from local.simulator.counting_together import CountingTogether, ReadAndCountAll
from local.simulator.unsent import Unsent
from tests.edge_door import code, door, head, ok, talk
from tests.parts import NOW, Parts, grant, parts_in
from tests.raw_provider import RawProvider, Seen, raw_provider

LIMIT = 3
CALLS = 12


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(quota=f"{{tokens: 1000/hour, calls: [{LIMIT}/day]}}"))
        yield made


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count together however few calls are under way."""
    monkeypatch.setattr(counting_together, "WORTH_IT", 1)


class Groups:
    """The real state, and the sizes of the groups that were counted."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.sizes: list[int] = []

    def __call__(self, wanted: Sequence[Wanted]) -> Sequence[Counted]:
        self.sizes.append(len(wanted))
        return self.parts.edge_state.read_and_count_all(wanted)


def begun(edge: Edge, token: str, path: str = "/v1/chat/completions") -> Begun:
    return admission.begin(Call(token, "openai", "POST", path, body=CallBody("", truncated=False)), edge, NOW)


def finished(edge: Edge, one: Begun) -> str:
    try:
        return admission.finish(one, edge).jti and "admitted"
    except Refusal as refusal:
        return refusal.reason


async def counted(ones: Sequence[Begun], count_all: ReadAndCountAll) -> None:
    together = CountingTogether(count_all)
    await asyncio.gather(*(together.count(one) for one in ones))


def test_a_limit_is_exact_within_a_group(parts: Parts) -> None:
    """Of more calls at once than a limit admits, the first are admitted, and the others take nothing of it."""
    edge, token, groups = parts.edge_parts(), parts.token(), Groups(parts)
    ones = [begun(edge, token) for _ in range(LIMIT + 4)]
    asyncio.run(counted(ones, groups))
    assert [finished(edge, one) for one in ones] == ["admitted"] * LIMIT + ["quota_calls"] * 4
    assert groups.sizes == [LIMIT + 4]
    assert parts.counted()["day"] == (LIMIT, 4)


def test_each_call_of_a_group_has_its_own_refusal(parts: Parts) -> None:
    """A revoked token and one that is good are told apart, and those of two principals counted apart."""
    edge, good, other = parts.edge_parts(), parts.token(), parts.token(repository_id="77")
    revoked = parts.token()
    ones = [begun(edge, token) for token in (good, revoked, other, good)]
    parts.revoke("token", ones[1].token.jti)
    asyncio.run(counted(ones, Groups(parts)))
    assert [finished(edge, one) for one in ones] == ["admitted", "revoked_token", "admitted", "admitted"]
    assert parts.counted()["day"] == (3, 1)


def test_a_call_that_is_broken_off_takes_nothing(parts: Parts) -> None:
    """A caller that goes away before its group is counted is not counted, and one that goes away just after is given back."""
    edge, token, groups = parts.edge_parts(), parts.token(), Groups(parts)
    ones = [begun(edge, token) for _ in range(3)]

    async def run() -> list[BaseException | None]:
        together = CountingTogether(groups)
        tasks = [asyncio.create_task(together.count(one)) for one in ones]
        await asyncio.sleep(0)  # all of them wait for the group
        tasks[0].cancel()
        asyncio.get_running_loop().call_soon(tasks[1].cancel)  # behind the group, and before the task goes on
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(run())
    assert [type(one) for one in found] == [asyncio.CancelledError, asyncio.CancelledError, type(None)]
    assert groups.sizes == [2]
    assert parts.counted()["day"] == (1, 1)


@pytest.mark.parametrize("fault", [StateUncertain(), OSError("a fault of ours")])
def test_what_cannot_be_counted_ends_every_call_of_a_group(parts: Parts, fault: Exception) -> None:
    """No call of a group waits for ever: each raises what became of all of them."""
    edge, token = parts.edge_parts(), parts.token()
    ones = [begun(edge, token) for _ in range(2)]

    def fail(_wanted: Sequence[Wanted]) -> Sequence[Counted]:
        raise fault

    asyncio.run(counted(ones, fail))
    for one in ones:
        with pytest.raises(type(fault)):
            admission.finish(one, edge)
    assert parts.counted() == {}


async def called(
    parts: Parts, groups: ReadAndCountAll, provider: RawProvider, token: str = "", **options: int
) -> list[tuple[str, str]]:
    """What many callers at once are told: the status, and the code of a refusal."""
    parts.set_key("openai", "sk-real", origin=provider.origin)
    unsent, token = Unsent(), token or parts.token()
    ports = parts.edge_ports([])._replace(admitted=unsent.admitted)
    lines = ("Host: edge", "Connection: close", f"Authorization: Bearer {token}", "Content-Length: 2")
    sent = head("POST /openai/v1/chat/completions HTTP/1.1", *lines) + b"{}"
    made = EdgeDoor(lambda: ports, lambda _line: None)
    async with door(made, unsent=unsent, read_and_count_all=groups, **options) as port:
        answers = await asyncio.gather(*(talk(port, sent) for _ in range(CALLS)))
    return [("200", "") if " 200 " in one[0][0] else code(one) for one in answers]


def test_a_limit_is_exact_over_sockets(parts: Parts) -> None:
    """Callers that come at once share transactions, and no more are admitted than the limit says."""
    groups = Groups(parts)

    async def run() -> list[tuple[str, str]]:
        async with asyncio.timeout(20), raw_provider(ok) as provider:
            return await called(parts, groups, provider)

    found = asyncio.run(run())
    assert sorted(found) == sorted([("200", "")] * LIMIT + [("429", "quota_exceeded")] * (CALLS - LIMIT))
    assert sum(groups.sizes) == CALLS
    assert parts.counted()["day"] == (LIMIT, CALLS - LIMIT)


def test_a_call_beyond_the_scope_joins_no_group(parts: Parts) -> None:
    """It is refused before others are counted, and counted by itself, as refused."""
    groups, token = Groups(parts), parts.exchange(scope=frozenset({"GET:/v1/models"})).access_token

    async def run() -> list[tuple[str, str]]:
        async with asyncio.timeout(20), raw_provider(ok) as provider:
            return await called(parts, groups, provider, token)

    assert asyncio.run(run()) == [("403", "insufficient_scope")] * CALLS
    assert (groups.sizes, parts.counted()["day"]) == ([], (0, CALLS))


def test_nothing_is_sent_before_the_commit(parts: Parts) -> None:
    """Where the commit of a group fails, each of its calls is a 503, and no provider has seen any of them."""
    grouped = 0

    async def run() -> None:
        async with asyncio.timeout(20), raw_provider(ok) as provider:

            def fail(wanted: Sequence[Wanted]) -> Sequence[Counted]:
                nonlocal grouped
                grouped += len(wanted)
                return [StateUncertain() for _ in wanted]

            found = await called(parts, fail, provider)
            assert found.count(("503", "temporarily_unavailable")) == grouped == CALLS
            assert provider.seen == []

    asyncio.run(run())


def test_a_group_takes_no_more_places_than_there_are(parts: Parts) -> None:
    """Calls that come at once are sent on up to the number of places; the others are a 503 and take nothing."""
    parts.apply(grant(quota="{tokens: 1000/hour, calls: [1000/day]}"))
    places, most = CALLS, CALLS * 3 // 4
    highest = 0

    async def run() -> list[tuple[str, str]]:
        async with asyncio.timeout(20):
            release = asyncio.Event()

            async def hold(seen: Seen, writer: asyncio.StreamWriter) -> bool:
                await release.wait()
                return await ok(seen, writer)

            async with raw_provider(hold) as provider:
                calls = asyncio.create_task(called(parts, Groups(parts), provider, connections=places))
                await provider.until(lambda: len(provider.seen) >= most)
                nonlocal highest
                highest = provider.open
                release.set()
                return await calls

    found = asyncio.run(run())
    assert highest == most
    assert {one[0] for one in found} == {"200", "503"}
    assert parts.counted()["day"][0] == found.count(("200", ""))


def test_several_that_came_together_are_expected_again(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a group of several the next call waits for others, however few are under way; after one alone it does not."""
    monkeypatch.setattr(counting_together, "WORTH_IT", 100)
    edge, token = parts.edge_parts(), parts.token()

    async def run() -> list[bool]:
        together, found = CountingTogether(Groups(parts)), list[bool]()
        for size in (1, 5, 1):
            found.append(together.is_worth_it(1))
            await asyncio.gather(*(together.count(begun(edge, token)) for _ in range(size)))
        return [*found, together.is_worth_it(1)]

    assert asyncio.run(run()) == [False, False, True, False]
