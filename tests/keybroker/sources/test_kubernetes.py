from __future__ import annotations

from pathlib import Path

import pytest

from keybroker import IdentityError, NoIdentity, find_identity
from keybroker.sources import kubernetes
from keybroker.sources.identity_request import IdentityRequest
from tests.scripted_broker import jwt


def test_a_projected_token_is_read_each_time(tmp_path: Path) -> None:
    """A projected token is found in a pod, and read anew each time."""
    wanted = IdentityRequest("keybroker", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    file = tmp_path / "token"
    assert kubernetes.find(wanted, str(file)) is None
    for token in (jwt(jti="1"), jwt(jti="2")):
        file.write_text(token)
        assert kubernetes.find(wanted, str(file)) == token
    assert kubernetes.find(IdentityRequest("keybroker", {}), str(file)) is None
    file.write_text("")
    with pytest.raises(IdentityError, match=r"the projected token .* is empty"):
        kubernetes.find(wanted, str(file))


def test_the_pods_own_token_for_the_cluster_is_never_sent() -> None:
    """The pod's own token for the cluster is never sent."""
    assert "kubernetes.io" not in kubernetes.PATH
    with pytest.raises(NoIdentity):
        find_identity(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
