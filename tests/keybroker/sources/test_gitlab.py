from __future__ import annotations

import id as others
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybroker import IdentityError, find_identity
from keybroker.ambient import Identity
from keybroker.sources import gitlab
from tests.keybroker.sources.stand_ins import TOKEN
from tests.scripted_broker import jwt


def test_gitlabs_variable_has_the_audiences_name() -> None:
    """GitLab's token is in the variable that the audience names."""
    environ = {"GITLAB_CI": "true", "HTTPS___BROKER_EXAMPLE_ID_TOKEN": TOKEN}
    assert find_identity("https://broker.example", environ) == Identity("gitlab", TOKEN)
    assert find_identity(environ={"GITLAB_CI": "true", "KEYBROKER_ID_TOKEN": TOKEN}) == Identity("gitlab", TOKEN)


def test_a_gitlab_job_is_told_its_lines() -> None:
    """A GitLab job without a token is told the lines to add."""
    with pytest.raises(IdentityError, match=r"  id_tokens:\n    MY_BROKER_ID_TOKEN:\n      aud: my-broker"):
        find_identity("my-broker", {"GITLAB_CI": "true"})


@given(audience=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_gitlabs_variable_is_as_others_expect(audience: str) -> None:
    """GitLab's variable has the name that other tools expect."""
    name = gitlab.variable_name(audience)
    token = jwt(aud=audience)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITLAB_CI", "true")
        patch.setenv(name, token)
        assert others.detect_credential(audience) == token
