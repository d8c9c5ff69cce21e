"""The one form in which names of headers are compared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.providers.header_names import canonical, is_dropped, is_name
from tests import cgi

NAMES = st.from_regex(r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}\Z")


@given(NAMES, NAMES)
def test_same_form_same_variable(one: str, other: str) -> None:
    """Two names have one form exactly if a server of the CGI kind makes one variable of both."""
    respelled = (
        other
        if len(one) != len(other)
        else "".join(b if not b.isalnum() else a for a, b in zip(one, other, strict=True))
    )
    for second in (other, respelled):
        joined = len(cgi.variables({one: [{"value": "1"}], second: [{"value": "2"}]})) == 1
        assert (canonical(one) == canonical(second)) == joined


@given(NAMES)
def test_form_is_its_own(name: str) -> None:
    """The form is its own form, is a name, and is dropped only if every spelling is."""
    assert canonical(canonical(name)) == canonical(name)
    assert is_name(name)
    assert is_name(canonical(name))
    if is_dropped(canonical(name)):
        assert is_dropped(name)


@given(st.text())
def test_is_name(text: str) -> None:
    """A name has letters, digits and fifteen signs of ASCII, and at least one of them."""
    allowed = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert is_name(text) == (text != "" and set(text) <= allowed)
