import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulator.http_head import Fields, head


@pytest.mark.parametrize("broken", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "a\x1bb", "a\x7fb", "\udcff"])
@pytest.mark.parametrize("line", ["GET {} HTTP/1.1", "{}: value", "name: {}"])
def test_nothing_makes_a_line_of_its_own(line: str, broken: str) -> None:
    """Whatever checks were passed before, nothing breaks a line of a head, nor is changed in one."""
    with pytest.raises(ValueError, match=r"control character|surrogates"):
        head(["GET / HTTP/1.1", line.format(broken)])


def test_a_head_is_its_lines() -> None:
    assert head(["HTTP/1.1 200 OK", "x: \ta\xe9"]) == b"HTTP/1.1 200 OK\r\nx: \ta\xc3\xa9\r\n\r\n"


@given(st.lists(st.tuples(st.from_regex(r"[A-Za-z0-9-]{1,9}", fullmatch=True), st.text(max_size=12))))
def test_fields_are_what_was_given(headers: list[tuple[str, str]]) -> None:
    """Names and values come back as they were, colons, spaces and repeats in them, and names are known in lower case."""
    fields = Fields.of(headers)
    assert fields.pairs() == headers
    assert fields.names == {name.lower() for name, _ in headers}
