"""A security engineer at a keyboard: calls the administration, signed with AWS Signature Version 4."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from local.demo import http_call
from local.demo.http_call import Answer

_SERVICE = "execute-api"
_SIGNED = "host;x-amz-date"


@dataclass(frozen=True, slots=True)
class Administrator:
    """Whose signature opens `/admin/*` of the broker at `url`."""

    url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str

    def call(self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None) -> Answer:
        """Make one signed call; raises OSError or http.client.HTTPException if there is no answer.

        path: without a query and free of characters that need encoding. body: sent as JSON, None for none.
        """
        data = b"" if body is None else json.dumps(body).encode()
        pairs = sorted((query or {}).items())
        # SigV4 signs the query sorted and fully percent-encoded; sent in that very form, it has one reading.
        target = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
        headers = self._headers(method, path, target, data)
        if data:
            headers["content-type"] = "application/json"
        return http_call.call(method, f"{self.url}{path}?{target}" if target else self.url + path, data, headers)

    def _headers(self, method: str, path: str, target: str, data: bytes) -> dict[str, str]:
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        host = urlsplit(self.url).netloc
        canonical = "\n".join(
            (method, path, target, f"host:{host}", f"x-amz-date:{at}", "", _SIGNED, hashlib.sha256(data).hexdigest())
        )
        scope = f"{at[:8]}/{self.region}/{_SERVICE}/aws4_request"
        to_sign = "\n".join(("AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{self.secret_access_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        credential = f"Credential={self.access_key_id}/{scope}"
        signed = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={_SIGNED}, Signature={signature}"
        return {"host": host, "x-amz-date": at, "authorization": signed}
