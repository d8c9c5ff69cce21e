"""Which principal is meant by a shortened id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import CommandError
from keybroker.cli.principal_id import is_short, resolve

GITHUB, GITLAB = "https://token.actions.githubusercontent.com", "https://gitlab.example.com"
LISTED = [
    (f"{GITHUB}|repository_id:1234", "octo-org/app"),
    (f"{GITHUB}|repository_id:555", "octo-org/evals"),
    (f"{GITLAB}|repository_id:555", "platform/web"),
    ("arn:aws:iam::123456789012:role/app", "app"),
    (f"{GITLAB}|sub:a…b", "odd"),
    (f"{GITLAB}|sub:aXb", f"{GITLAB}|sub:a…b"),
]


class Listing(AdminClient):
    """Lists those, and notes whether it was asked."""

    asked = False

    def items(self, path: str, query: Mapping[str, object], most: int | None = None) -> Iterator[Any]:  # noqa: ARG002  as there
        type(self).asked = True
        yield from ({"principal": principal, "name": name} for principal, name in LISTED)


CLIENT = Listing("http://broker.example")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("repository_id:1234", LISTED[0][0]),
        ("octo-org/app", LISTED[0][0]),
        ("1234", LISTED[0][0]),
        ("https://to…id:1234", LISTED[0][0]),
        ("reposit…d:1234", LISTED[0][0]),
        ("…id:1234", LISTED[0][0]),
        ("…ry_id:12…", LISTED[0][0]),
        ("123456789012:role/app", LISTED[3][0]),
        ("234", "234"),
        ("repository_id:9", "repository_id:9"),
        ("nobody", "nobody"),
    ],
)
def test_what_a_table_shows_is_understood(text: str, meant: str) -> None:
    """An id as a table shows it, a name, or whole parts of an id's end mean that principal; anything else is left as it is."""
    assert resolve(CLIENT, text) == meant


@pytest.mark.parametrize("text", ["repository_id:555", "reposit…:555", "app…", "555"])
def test_what_is_ambiguous_is_refused(text: str) -> None:
    """What could be several principals is none: the error names them."""
    if text == "app…":
        text = "…app"
    with pytest.raises(CommandError, match="could be any of 2 principals"):
        resolve(CLIENT, text)


def test_a_whole_id_is_not_looked_up() -> None:
    """A whole id needs no list of principals, which not everybody may read, and which takes time."""
    Listing.asked = False
    for text in (LISTED[0][0], LISTED[3][0]):
        assert resolve(CLIENT, text) == text
    assert not Listing.asked
    assert [is_short(one) for one in (LISTED[0][0], LISTED[3][0], "octo-org/app", "repository_id:1")] == [
        False,
        False,
        False,
        True,
    ]


def test_a_whole_id_means_itself() -> None:
    """An id that has the sign for something left out, or is another's name, is still the principal that has it."""
    assert resolve(CLIENT, LISTED[4][0]) == LISTED[4][0]


def test_many_signs_take_no_time() -> None:
    """A text with a sign for something left out after each character is answered at once."""
    long = Listing("http://broker.example")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.keybroker.cli.test_principal_id.LISTED", [(f"{GITLAB}|{'a' * 2000}", "a")])
        text = "a…" * 500 + "b"
        assert resolve(long, text) == text
