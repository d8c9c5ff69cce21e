"""Which revocation or request is meant by an id without its middle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import CommandError
from keybroker.cli.shown_id import whole
from keybroker.cli.table import table

IDS = ["q9DP7vnMr70nFCAddefjlQ", "q9DP7xxxxxxxxxxxxefjlQ", "-6y3ciAAAAAAAAAAAAAAAA"]


class Listing(AdminClient):
    """Lists those."""

    def items(self, path: str, query: Mapping[str, object], most: int | None = None) -> Iterator[Any]:  # noqa: ARG002  as there
        yield from ({"id": one} for one in IDS)


def meant(text: str) -> str:
    return whole(Listing("http://broker.example"), text, "/admin/revocations", {}, "id")


@pytest.mark.parametrize("wide", [8, 12, 18, 22])
def test_what_is_shown_is_taken(wide: int) -> None:
    """An id as a table of any width shows it means that one, as a whole id does."""
    shown = table(("id",), [(IDS[2],)], wide)[1]
    assert len(shown) <= wide
    assert meant(shown) == IDS[2]


def test_a_whole_id_is_not_looked_up() -> None:
    """What has no part left out is passed on as it is, known or not."""
    assert meant("unknown") == "unknown"


def test_one_of_two_is_never_chosen() -> None:
    """An id that two fit is refused with both named: the wrong revocation is never restored."""
    with pytest.raises(CommandError, match="could be any of 2") as refused:
        meant("q9DP7…efjlQ")
    assert list(refused.value.lines[1:]) == IDS[:2]


def test_one_that_is_gone_is_an_error() -> None:
    """An id that none fits is said to be none: no empty answer is taken for "nothing happened"."""
    with pytest.raises(CommandError, match="give the whole id"):
        meant("nope…nope")
