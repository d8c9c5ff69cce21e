"""Kubernetes: a service account's token, projected into a file for our audience, which kubelet rotates.

https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection
"""

from __future__ import annotations

from pathlib import Path

from keybroker.sources import token_file
from keybroker.sources.wanted import Wanted

# SECURITY: never the pod's default token (/var/run/secrets/kubernetes.io/…): whoever gets that one can speak to the
# cluster's API (test_the_pods_own_token_for_the_cluster_is_never_sent).
PATH = "/var/run/secrets/keybroker/token"
"""Where the manifests in our documentation mount it."""


def find(wanted: Wanted, path: str = PATH) -> str | None:
    """Return the projected token, None where none is mounted; raises IdentityError."""
    if not wanted.environ.get("KUBERNETES_SERVICE_HOST") or not Path(path).exists():
        return None
    return token_file.read(Path(path), f"the projected token {path}")
