"""Amazon's own certificate authorities, by which AWS's services are known, out of Mozilla's list as botocore has it.

Amazon asks for all five where a list is one's own (https://www.amazontrust.com/repository/). Reading all of Mozilla's would
be a fifth of a cold start.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping

AUTHORITIES: Mapping[str, str] = {
    "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5": "Starfield Services Root Certificate Authority - G2",
    "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e": "Amazon Root CA 1",
    "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4": "Amazon Root CA 2",
    "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4": "Amazon Root CA 3",
    "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092": "Amazon Root CA 4",
}
"""By the SHA-256 of the certificate, as Amazon publishes it."""
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----\n.*?\n-----END CERTIFICATE-----\n", re.DOTALL)


def of_amazon(bundle: str) -> str:
    """Return those of a list in PEM, each under its name; raises ValueError if it has not all of them."""
    by_digest = {
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(found)).hexdigest(): found for found in _CERTIFICATE.findall(bundle)
    }
    # SECURITY: a zip without one of them would be cut off from AWS one day (test_a_list_without_one_builds_no_zip).
    missing = [name for digest, name in AUTHORITIES.items() if digest not in by_digest]
    if missing:
        raise ValueError(f"the certificate authorities of botocore lack {', '.join(missing)}")
    return "\n".join(f"# {name}\n{by_digest[digest]}" for digest, name in AUTHORITIES.items())
