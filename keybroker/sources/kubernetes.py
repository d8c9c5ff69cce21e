"""Kubernetes: a service account's token, projected into a file for our audience; kubelet rotates it.

https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection
"""

from __future__ import annotations

from pathlib import Path

from keybroker.sources import token_file
from keybroker.sources.identity_request import IdentityRequest

# SECURITY: never the pod's default token (/var/run/secrets/kubernetes.io/…): its holder can call the
# cluster's API (test_the_pods_own_token_for_the_cluster_is_never_sent).
PATH = "/var/run/secrets/keybroker/token"
"""Where the manifests in our documentation mount the token."""


def find(request: IdentityRequest, path: str = PATH) -> str | None:
    """Return the projected token, None where none is mounted; raises IdentityError."""
    if not request.environ.get("KUBERNETES_SERVICE_HOST") or not Path(path).exists():
        return None
    return token_file.read_token(Path(path), f"the projected token {path}")
