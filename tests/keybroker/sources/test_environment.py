from __future__ import annotations

from keybroker import find_identity
from keybroker.ambient import Identity
from tests.keybroker.sources.stand_ins import TOKEN


def test_a_token_variable_is_stripped() -> None:
    """A token in a variable is taken without surrounding white space."""
    assert find_identity(environ={"KEYBROKER_ID_TOKEN": f" {TOKEN}\n"}) == Identity("environment", TOKEN)
