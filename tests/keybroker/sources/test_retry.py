from __future__ import annotations

import json

import pytest

from keybroker import IdentityError, find_identity
from tests.keybroker.sources.stand_ins import TOKEN, Site, github


@pytest.mark.parametrize("name", ["github", "google"])
def test_a_runner_is_asked_twice_at_most(site: Site, name: str) -> None:
    """A runner or metadata server may fail once, and not twice."""
    site.body = json.dumps({"value": TOKEN}) if name == "github" else TOKEN
    metadata = {"GCE_METADATA_HOST": site.url.removeprefix("http://")}
    environ = github(f"{site.url}/token?a=b") if name == "github" else metadata
    site.down = 1
    assert find_identity(environ=environ).unverified_subject_token == TOKEN
    assert len(site.asked) == 2
    site.down = 4
    with pytest.raises(IdentityError, match="HTTP 503"):
        find_identity(environ=environ)
    assert len(site.asked) == 4
