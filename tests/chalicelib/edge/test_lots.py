"""Numbers that are handed out ahead: the rule alone, and many calls by it, interleaved at every request."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge import lots
from chalicelib.edge.lots import Lot
from chalicelib.quota import Limit

SEEDS = st.integers(min_value=0, max_value=2**32)


@given(st.integers(0, 10**12), st.integers(0, 10**9 - 1))
def test_a_lot_is_one_number(first: int, asked: int) -> None:
    """A lot is stored as one number, and those of one lot follow one another, so that a condition can name them."""
    lot = Lot(first, asked)
    assert Lot.read(lot.stored()) == lot
    assert lot.stored() + 1 == lot._replace(asked=asked + 1).stored()
    assert Lot(first, 0).stored() <= lot.stored() <= Lot(first + 1, -1).stored() < Lot(first + 1, 0).stored()


def test_a_lot_numbers_as_many_as_it_has() -> None:
    """The first call gets its first number, the last its last; the next gets none, and fetches the next lot."""
    asked = [Lot(101, number) for number in range(1, lots.SIZE + 2)]
    assert [one.number() for one in asked] == [*range(101, 101 + lots.SIZE), None]
    assert [one.wants() for one in asked] == [0] * lots.SIZE + [lots.SIZE]
    assert [one.left() for one in asked] == [*range(lots.SIZE - 1, -1, -1), 0]


def test_where_there_is_no_lot_the_first_fetches_one() -> None:
    """Before there is a lot, the first call fetches it, the others take one number each, and each twentieth fetches again."""
    assert [Lot(0, number).wants() for number in range(1, 43)] == [20, *[1] * 19, 20, *[1] * 19, 20, 1]
    assert {Lot(0, number).number() for number in range(43)} == {None}
    assert {Lot(0, number).left() for number in range(43)} == {0}


def test_what_a_lot_had_is_not_wanted_of_the_item() -> None:
    """The item is asked for what the slice had not, for each counter by itself."""
    asked = {"minute": Lot(0, 1), "hour": Lot(7, 3), "day": Lot(7, lots.SIZE + 2)}
    assert lots.wanted(asked) == {"minute": lots.SIZE, "day": 1}
    assert (lots.first_of(120, lots.SIZE), lots.first_of(7, 1)) == (101, 7)


def test_a_small_limit_gets_no_lots() -> None:
    """Numbers are handed out ahead only where every limit is a hundred times what may lie unused."""
    large, small = Limit(lots.SMALLEST_LIMIT, "day"), Limit(lots.SMALLEST_LIMIT - 1, "minute")
    assert lots.SMALLEST_LIMIT == 100 * lots.SLICES * lots.SIZE
    assert lots.may_draw((large,))
    assert not lots.may_draw((large, small))
    assert not lots.may_draw(())


@dataclass
class World:
    """One counter: its item's number, and what its slices keep, by slice and change of the limits.

    limit: in force. changes: how often it was changed. fenced: whether lots of other limits are told apart.
    """

    slices: int
    limit: int
    fenced: bool = True
    item: int = 0
    changes: int = 0
    kept: dict[tuple[int, int], Lot] = field(default_factory=dict)
    admitted: int = 0
    lost: int = 0
    """Lots, and single numbers, that died with a call or lost a race: each at most a lot."""

    def add(self, count: int) -> int:
        """Add at the item, as one request."""
        self.item += count
        return self.item

    def ask(self, place: tuple[int, int]) -> Lot:
        """Ask a slice, as one request."""
        lot = self.kept.get(place, Lot(0, 0))
        self.kept[place] = Lot.read(lot.stored() + 1)
        return self.kept[place]

    def put(self, place: tuple[int, int], was: Lot, new: Lot) -> None:
        """Put a lot into a slice, on its condition, as one request."""
        if Lot(was.first, 0).stored() <= self.kept[place].stored() < Lot(was.first + 1, 0).stored():
            self.kept[place] = new
        else:
            self.lost += 1

    def give_back(self, place: tuple[int, int], first: int) -> bool:
        """Give a number back to its lot, on its condition, as one request."""
        is_there = Lot(first, 1).stored() <= self.kept[place].stored() <= Lot(first, lots.SIZE).stored()
        if is_there:
            self.kept[place] = Lot.read(self.kept[place].stored() - 1)
        return is_there

    def left(self) -> int:
        """Return how many numbers nobody has taken."""
        return sum(lot.left() for lot in self.kept.values())


@dataclass(frozen=True)
class Chances:
    """How often a call is throttled, is refused for another reason than its number, and dies between two requests."""

    throttled: float
    refused: float = 0.0
    dies: float = 0.0


def call(world: World, chances: Chances, chance: random.Random) -> Iterator[None]:
    """Make one call, pausing before each of its requests, as `chalicelib.aws.slices` makes them."""
    limit, place, first = world.limit, (chance.randrange(world.slices), world.changes if world.fenced else 0), 0
    yield
    if chance.random() >= chances.throttled:
        number = world.add(1)
    else:
        for _ in range(lots.ASKS):
            lot = world.ask(place)
            number, first, wants = lot.number() or 0, lot.first if lot.number() else 0, lot.wants()
            yield
            if chance.random() < chances.dies:
                world.lost += bool(number)
                return
            if wants != 1:
                break
        if wants:
            number = lots.first_of(world.add(wants), wants)
        if wants > 1:
            first = number
            yield
            if chance.random() < chances.dies:
                world.lost += 1
                return
            world.put(place, lot, Lot(number, 1))
    yield
    if number <= limit and chance.random() >= chances.refused:
        world.admitted += 1
    elif not (first and world.give_back(place, first)):
        yield
        world.item -= world.item > 0


def rush(world: World, tries: int, chances: Chances, chance: random.Random) -> None:
    """Make calls, interleaved at random, until all have ended."""
    waiting, under_way = [call(world, chances, chance) for _ in range(tries)], list[Iterator[None]]()
    while waiting or under_way:
        if waiting and chance.random() < 0.4:
            under_way.append(waiting.pop())
        elif under_way:
            one = chance.choice(under_way)
            if next(one, one) is one:
                under_way.remove(one)


def several_rushes(seed: int, *, fenced: bool = True) -> bool:
    """Make calls under changing limits, some of which come back; whether each limit held."""
    chance = random.Random(seed)
    limits = [chance.choice([3, 20, 60, 100]) for _ in range(2)]
    world = World(chance.choice([1, 2, 4]), limits[0], fenced=fenced)
    chances = Chances(chance.choice([0, 0.5, 0.9, 1]), chance.choice([0, 0.2, 0.7]), chance.choice([0, 0.03]))
    for limit in [*limits, limits[0], limits[1] - 1, limits[1]]:
        before, world.limit, world.changes = world.admitted, limit, world.changes + 1
        rush(world, chance.choice([10, 40, 120]), chances, chance)
        if world.admitted > max(limit, before):
            return False
        assert 0 <= world.item - world.admitted - world.left() <= lots.SIZE * world.lost
    return True


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lots, "SIZE", 7)


@given(SEEDS)
def test_never_more_than_the_limit(seed: int) -> None:
    """However calls interleave, die, give back, and meet other limits, none is one too many.

    Nothing is lost but what died or lost a race.
    """
    for one in range(seed, seed + 4):
        assert several_rushes(one), one


@pytest.mark.usefixtures("_small")
def test_never_more_with_small_lots() -> None:
    """The same where lots are used up often."""
    assert all(several_rushes(seed) for seed in range(200))


@pytest.mark.usefixtures("_small")
def test_limits_that_come_back_would_admit_more() -> None:
    """Were lots of other limits not told apart, more than the limit would be admitted: these rushes find it."""
    assert not all(several_rushes(seed, fenced=False) for seed in range(200))


@given(SEEDS, st.integers(1, 100), st.integers(1, 150))
def test_exactly_the_limit_where_nothing_was_throttled(seed: int, limit: int, tries: int) -> None:
    """If the item took all in time, exactly as many are admitted as the limit has, and the slices are empty."""
    world = World(8, limit)
    rush(world, tries, Chances(throttled=0), random.Random(seed))
    assert (world.admitted, world.kept) == (min(limit, tries), {})


@given(SEEDS, st.floats(0, 1), st.integers(1, 8))
def test_what_may_lie_unused(seed: int, throttled: float, slices: int) -> None:
    """If calls press on, at most a lot in each slice, and what lost a race, is missing from the limit."""
    world = World(slices, 400)
    rush(world, 700, Chances(throttled), random.Random(seed))
    assert 400 - (slices + world.lost) * lots.SIZE <= world.admitted <= 400


def test_one_after_another() -> None:
    """Calls that come one by one, all of them throttled, are numbered from one on, and refused past the limit."""
    world, chance = World(1, 30), random.Random(1)
    for _ in range(35):
        assert list(call(world, Chances(throttled=1), chance))
    assert (world.admitted, world.left(), world.item) == (30, 10, 40)
