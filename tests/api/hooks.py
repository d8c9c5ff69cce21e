"""Signs every request that schemathesis makes, as an administrator would, and notes how each was answered.

Loaded by schemathesis, in an environment of its own; tests/api/run.py starts it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import schemathesis  # type: ignore[import-not-found]  # in its own environment only
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_ANSWERED = Path(os.environ["KEYBROKER_API_ANSWERED"])


class Signed:
    """AWS Signature Version 4. Called by requests last of all, when path, query and body are what will be sent."""

    def __init__(self) -> None:
        keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        self._signer = SigV4Auth(keys, "execute-api", os.environ["AWS_REGION"])

    def __call__(self, request: Any) -> Any:  # noqa: ANN401  requests.PreparedRequest, which is not installed everywhere
        """Put the signature on a request."""
        signed = AWSRequest(request.method, request.url, data=request.body or b"")
        self._signer.add_auth(signed)
        for name in ("Authorization", "X-Amz-Date"):
            request.headers[name] = signed.headers[name]
        return request


schemathesis.auth.set_from_requests(Signed())


@schemathesis.hook  # type: ignore[untyped-decorator]  # as above
def after_call(_context: object, case: Any, response: Any) -> None:  # noqa: ANN401  schemathesis's own types
    """Note one answer: method, route and status."""
    with _ANSWERED.open("a") as file:
        file.write(f"{case.operation.method.upper()} {case.operation.path} {response.status_code}\n")
