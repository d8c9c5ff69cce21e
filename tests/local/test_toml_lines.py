"""Where each field of a TOML file is, and every fault of its syntax."""

from __future__ import annotations

import pytest

from local import toml_lines


def test_each_field_has_its_line() -> None:
    """A field's line is where it begins, also after comments, in tables, and for values of several lines."""
    text = '# first\na = 1\n\n[broker]\nlisten = "x"\nnets = [\n  "1",\n]\n[edge] # last\nx = {y = 1}\n'
    assert toml_lines.parse(text).lines == {
        ("a",): 2,
        ("broker",): 4,
        ("broker", "listen"): 5,
        ("broker", "nets"): 6,
        ("edge",): 9,
        ("edge", "x"): 10,
        ("edge", "x", "y"): 10,
    }


def test_every_fault_of_syntax_has_its_line() -> None:
    """Each line that is no TOML is told, and what the others say is there."""
    document = toml_lines.parse('workers = two\na = 1\na = 2\nfoo bar\n[edge]\nb = 3\nlast = "\n')
    assert [line for line, _ in document.faults] == [1, 3, 4, 7]
    assert document.values == {"a": 1, "edge": {"b": 3}}


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = 1\na = [1,\n 2 3]\nb = 1\n", 3), ("x = 1\na = [\n 2,\n", 2), ('x = 1\na = """\nb = 1\n', 2)],
)
def test_what_follows_an_open_value_is_left_out(text: str, line: int) -> None:
    """A value that does not end is one fault, not one for each line after it."""
    document = toml_lines.parse(text)
    assert [number for number, _ in document.faults] == [line]
    assert document.values["x"] == 1


def test_a_long_file_is_refused() -> None:
    """A file of very many lines is refused at once: reading takes time by the square of them."""
    assert toml_lines.parse("a = 1\n" * 100_000).faults == ((501, "over 500 lines"),)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\x0b", "\r\n"])
def test_files_that_say_nothing(text: str) -> None:
    """Whatever is no field is none; only TOML's own line ends count."""
    assert toml_lines.parse(text).values == {}


@pytest.mark.parametrize("value", ["[" * 5_000, "9" * 5_000, "1979-13-01"], ids=["deep", "long", "no date"])
def test_hostile_values(value: str) -> None:
    """A value that the parser cannot take is a fault at its line as any other."""
    document = toml_lines.parse(f"x = 1\na = {value}\nb = 2\n")
    assert [line for line, _ in document.faults] == [2]
    assert document.values["x"] == 1
