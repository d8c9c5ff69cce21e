"""The files of one machine's administrators."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from local import secret_file
from local.administrators import Administrator, Administrators


@pytest.fixture
def real(tmp_path: Path) -> Administrators:
    """The administrators of a real installation: the first one only."""
    found = Administrators(tmp_path, practising=False)
    found.create_first()
    return found


def _names(administrators: Administrators) -> list[str]:
    return [one.name for one in administrators.all() if isinstance(one, Administrator)]


def test_each_has_a_file_and_keys_of_their_own(real: Administrators, tmp_path: Path) -> None:
    ada, bob = real.add("ada"), real.add("bob")
    assert _names(real) == ["admin", "ada", "bob"]
    assert ada.file == tmp_path / "admins" / "ada.json"
    assert {path.stat().st_mode & 0o777 for path in real.files().values()} == {0o600}
    assert ada.file.parent.stat().st_mode & 0o777 == 0o700
    assert len({ada.access_key_id, bob.access_key_id, ada.secret_access_key, bob.secret_access_key}) == 4
    assert ada.secret_access_key not in repr(ada)


@pytest.mark.parametrize(
    "name",
    ["", "Ada", "ada ", "../ada", "a/b", ".ada", "1a", "a" * 65, "a\n", "ada\x00", "practice-admin", "admin", "bob"],
)
def test_a_name_that_is_none_or_taken(real: Administrators, name: str) -> None:
    """A name that is malformed, the first administrator's or taken is refused, and changes no file."""
    before = real.add("bob").secret_access_key
    with pytest.raises(ValueError, match=r"name|already"):
        real.add(name)
    assert _names(real) == ["admin", "bob"]
    assert before in real.files()["bob"].read_text()


@pytest.mark.parametrize("name", ["ada", "../admin", "", "aws-callers"])
def test_who_is_not_there_cannot_be_removed(real: Administrators, name: str) -> None:
    """Removing nobody is refused with the names that there are."""
    with pytest.raises(ValueError, match=r"there are: admin$"):
        real.remove(name)
    assert _names(real) == ["admin"]


def test_one_of_two_who_add_a_name_wins(real: Administrators) -> None:
    """Of several who add one name at once, one gets keys, and the others are told."""

    def add(_number: int) -> str | None:
        try:
            return real.add("ada").access_key_id
        except ValueError:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [one for one in pool.map(add, range(8)) if one]
    [ada] = [one for one in real.all() if isinstance(one, Administrator) and one.name == "ada"]
    assert made == [ada.access_key_id]


def test_a_start_brings_nobody_back(real: Administrators) -> None:
    """A removed first administrator is not made anew while there is another; where there is none, a start makes one."""
    real.add("ada")
    real.remove("admin")
    real.create_first()
    assert _names(real) == ["ada"]
    real.remove("ada")
    real.create_first()
    assert _names(real) == ["admin"]


def test_an_older_file_is_read(tmp_path: Path) -> None:
    """The file of an earlier version is still the first administrator's."""
    secret_file.write(
        tmp_path / "admin.json", json.dumps({"access_key_id": "AKIAPRACTICE12345678", "secret_access_key": "x"})
    )
    for practising, name in ((True, "practice-admin"), (False, "admin")):
        [one] = Administrators(tmp_path, practising=practising).all()
        assert isinstance(one, Administrator)
        assert (one.name, one.created) == (name, 0)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"access_key_id": "A", "secret_access_key": "hush"}'])
def test_a_faulty_file_is_not_quoted(real: Administrators, text: str) -> None:
    """A file without credentials is said to be so, by its path alone."""
    path = real.add("ada").file
    secret_file.write(path, text)
    [fault] = [one for one in real.all() if isinstance(one, Unavailable)]
    assert (fault.reason, fault.hint, fault.__cause__) == ("administrator_malformed", str(path), None)
    assert _names(real) == ["admin"]
    with pytest.raises(Unavailable, match="administrator_malformed"):
        real.create_first()
