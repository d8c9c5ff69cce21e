"""The rules of `chalicelib.federation.notes.MintNotes`, whatever they are kept in."""

from __future__ import annotations

import pytest

from chalicelib.errors import Unavailable
from chalicelib.federation.notes import MintNote
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW

NOTE = MintNote(
    "openai", NOW, "invalid_grant", denied=True, failures=2, next_try=NOW + 300, since=NOW - 300, minted_for="a"
)


def test_what_failed_is_remembered_until_it_succeeds(adapters: Adapters) -> None:
    """The last note of each key, and none once its attempt has succeeded."""
    other, notes = NOTE._replace(key="claude"), adapters.mint_notes
    assert notes.mint_notes() == {}
    for note in (NOTE, other, NOTE._replace(failures=3)):
        notes.note_mint(note.key, note)
    assert notes.mint_notes() == {"openai": NOTE._replace(failures=3), "claude": other}
    notes.note_mint("openai", None)
    notes.note_mint("nobody", None)
    assert notes.mint_notes() == {"claude": other}


def test_a_pause_is_ended(adapters: Adapters) -> None:
    """The key is due again, what else is remembered of it stays, and nothing of any other key changes."""
    other, notes = NOTE._replace(key="claude"), adapters.mint_notes
    for note in (NOTE, other):
        notes.note_mint(note.key, note)
    notes.end_pause(NOTE, NOW)
    assert notes.mint_notes() == {"openai": NOTE._replace(next_try=NOW), "claude": other}


def test_a_later_pause_is_not_ended(adapters: Adapters) -> None:
    """What was noted since stays as it is, and what was forgotten does not come back."""
    later, notes = NOTE._replace(failures=3), adapters.mint_notes
    notes.note_mint("openai", later)
    notes.end_pause(NOTE, NOW)
    assert notes.mint_notes() == {"openai": later}
    notes.note_mint("openai", None)
    notes.end_pause(later, NOW)
    assert notes.mint_notes() == {}


def test_a_store_out_of_reach_is_said_so(adapters: Adapters) -> None:
    """Every method raises Unavailable, and nothing has changed."""
    notes = adapters.mint_notes
    notes.note_mint("openai", NOTE)
    for act in (lambda: notes.end_pause(NOTE, NOW), lambda: notes.note_mint("openai", None), notes.mint_notes):
        with adapters.cut(0), pytest.raises(Unavailable):
            act()
    assert notes.mint_notes() == {"openai": NOTE}
