"""Google Cloud: the metadata server gives an identity token of the instance's service account.

https://cloud.google.com/compute/docs/instances/verifying-instance-identity
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from keybroker import bounded_http
from keybroker.errors import IdentityError, Unreachable
from keybroker.sources.checked_token import checked_token
from keybroker.sources.patient_get import patient_get
from keybroker.sources.wanted import Wanted

PRODUCT = "/sys/class/dmi/id/product_name"
_NAMES = ("Google", "Google Compute Engine")
_SIGNS = ("GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB")
"""Variables that say that this is Google Cloud: the first is for tests, the others are Cloud Run's, which has no DMI."""
_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def find(wanted: Wanted) -> str | None:
    """Return a token of the metadata server, None outside of Google Cloud; raises IdentityError."""
    if not any(wanted.environ.get(name) for name in _SIGNS) and not _is_google(PRODUCT):
        return None
    host = wanted.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    query = urlencode({"audience": wanted.audience, "format": "full"})
    try:
        url = f"http://{host}{_PATH}?{query}"
        answer = patient_get(bounded_http.get_in_this_cloud, url, {"metadata-flavor": "Google"})
    except Unreachable as fault:
        raise IdentityError(f"this is Google Cloud, and its metadata server gave no identity token: {fault}") from fault
    if answer.status != 200:
        raise IdentityError(
            f"this is Google Cloud, and its metadata server gave no identity token (HTTP {answer.status}); "
            "attach a service account to the instance, job or pod"
        )
    return checked_token(answer.body.decode("utf-8", "replace"), "the answer of Google's metadata server")


def _is_google(product: str) -> bool:
    try:
        return Path(product).read_text(encoding="utf-8").strip() in _NAMES
    except (OSError, UnicodeDecodeError):
        return False
