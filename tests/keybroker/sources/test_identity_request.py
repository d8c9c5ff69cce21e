from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keybroker import IdentityError
from keybroker.sources.identity_request import check_token


@given(text=st.text())
def test_a_non_token_is_never_quoted(text: str) -> None:
    """A text that is not a token is refused without being quoted."""
    try:
        token = check_token(text, "the source")
    except IdentityError as fault:
        # What is not shorter than the words that the text of the error has by itself.
        assert len(text.strip()) < 12 or text.strip() not in str(fault)  # noqa: PT017  both outcomes are tested
    else:
        assert token.count(".") == 2
        assert token in text
