"""One installation for all tests of this folder, which `make test-infra` runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import aws_scenario
from tests.integration import ministack
from tests.integration.infra import installation
from tests.integration.infra.installation import Installation, Signer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that none has to be remembered."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ministack)
            item.add_marker(pytest.mark.timeout(900))  # the first one builds and deploys
            if "PYTEST_XDIST_WORKER" in os.environ:
                item.add_marker(pytest.mark.skip("deployed once, by one process: make test-infra"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Keybroker, deployed."""
    with ministack.ministack(AUTH="true") as endpoint:
        yield installation.deploy(endpoint, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def administrator(installed: Installation) -> Signer:
    """A signer with the IAM policy for administrators; a policy is in force, and a key is set."""
    signer = installed.role("ada", installed.outputs("admin")["Administrator"])
    put = installed.ask("admin", "PUT /admin/policy", {"text": aws_scenario.policy()}, signer, if_match='"0"')
    assert put.status == 200, put.body
    set_key = installed.ask("admin", "PUT /admin/keys/openai?probe=false", {"value": aws_scenario.KEY_VALUE}, signer)
    assert set_key.status == 200, set_key.body
    return signer
