"""Where AWS's services are, and the certificate authorities by which they are known."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from chalicelib.aws.connection import Place
from chalicelib.aws.edge_client import Endpoint

ROOTS_FILE = "cacert.pem"
"""Amazon's certificate authorities in the edge's zip, beside edge.py; without it, the system's."""
_ROOTS = Path(__file__).resolve().parents[2] / ROOTS_FILE


def of(regions: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, Endpoint]:
    """Return the endpoints of services, each in its region.

    environ: may name others by botocore's variables, `AWS_ENDPOINT_URL_<SERVICE>` and `AWS_ENDPOINT_URL`, as for an
    emulator, and `AWS_CA_BUNDLE`. Lambda@Edge has no variables of ours. Raises ValueError for a URL without a host.
    """
    context = None
    found = {}
    for service, region in regions.items():
        url = environ.get(f"AWS_ENDPOINT_URL_{_VARIABLES[service]}") or environ.get("AWS_ENDPOINT_URL")
        parts = urlsplit(url or f"https://{service}.{region}.amazonaws.com")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the endpoint of {service} is no URL")
        if parts.scheme == "https" and context is None:
            context = _tls(environ)
        tls = context if parts.scheme == "https" else None
        found[service] = Endpoint(region, Place(parts.hostname, parts.port or (443 if tls else 80), tls))
    return found


_VARIABLES = {"dynamodb": "DYNAMODB", "kms": "KMS", "secretsmanager": "SECRETS_MANAGER"}


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    # SECURITY: create_default_context checks certificate and name (test_a_stranger_s_certificate_is_refused).
    roots = environ.get("AWS_CA_BUNDLE") or (str(_ROOTS) if _ROOTS.exists() else None)
    context = ssl.create_default_context(cafile=roots)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # whatever a machine's OpenSSL allows (test_old_tls_is_refused)
    return context
