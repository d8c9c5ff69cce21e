"""Google Cloud: the metadata server issues an identity token for the instance's service account.

https://cloud.google.com/compute/docs/instances/verifying-instance-identity
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from keybroker import http_client
from keybroker.errors import IdentityError, Unreachable
from keybroker.sources.identity_request import IdentityRequest, check_token
from keybroker.sources.retry import get_with_retry, why

PRODUCT_FILE = "/sys/class/dmi/id/product_name"
_PRODUCT_NAMES = ("Google", "Google Compute Engine")
_HINTS = ("GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB")
"""Variables that say that this is Google Cloud: the first is for tests, the others are set by Cloud Run, which has no DMI."""
_ADVICE: Mapping[int, str] = {
    403: "; allow the service account iam.serviceAccounts.getOpenIdToken on itself",
    404: "; attach a service account to the instance, job or pod",
}
"""What to do about a status, where it speaks of the service account."""
_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def find(request: IdentityRequest) -> str | None:
    """Return a token from the metadata server, None outside of Google Cloud; raises IdentityError."""
    if not any(request.environ.get(name) for name in _HINTS) and not _is_google(PRODUCT_FILE):
        return None
    host = request.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    query = urlencode({"audience": request.audience, "format": "full"})
    try:
        url = f"http://{host}{_PATH}?{query}"
        response = get_with_retry(http_client.get_metadata, url, {"metadata-flavor": "Google"})
    except Unreachable as error:
        raise IdentityError(
            f"this is Google Cloud, but its metadata server issued no identity token: {error}"
        ) from error
    if response.status != 200:
        raise IdentityError(
            f"this is Google Cloud, but its metadata server issued no identity token ({why(response)})"
            f"{_ADVICE.get(response.status, '')}"
        )
    return check_token(response.body.decode("utf-8", "replace"), "the response from Google's metadata server")


def _is_google(product_file: str) -> bool:
    try:
        return Path(product_file).read_text(encoding="utf-8").strip() in _PRODUCT_NAMES
    except (OSError, UnicodeDecodeError):
        return False
