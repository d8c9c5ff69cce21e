"""azure-identity, with a transport that goes to the practice endpoint in place of login.microsoftonline.com."""

from __future__ import annotations

import io
import json

import requests
from azure.core.pipeline.transport import RequestsTransport  # type: ignore[import-not-found]  # in an environment of its own
from azure.identity import ClientAssertionCredential  # type: ignore[import-not-found]  # as that

from tests.integration.federation_sdks.programs import report

AUTHORITY = "https://login.microsoftonline.com"
asked = report.settings()


class Adapter(requests.adapters.HTTPAdapter):
    """Answers the discovery of the authority, and sends everything else to the practice endpoint."""

    def send(self, request: requests.PreparedRequest, *arguments: object, **more: object) -> requests.Response:
        """Send a request."""
        path = str(request.url).removeprefix(AUTHORITY)
        if request.method == "GET":
            return _discovery(request)
        request.url = asked["url"] + path
        return super().send(request, *arguments, **more)  # type: ignore[arg-type]  # as it came


def _discovery(request: requests.PreparedRequest) -> requests.Response:
    tenant = f"{AUTHORITY}/{asked['tenant']}"
    document = {
        "issuer": f"{tenant}/v2.0",
        "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
        "token_endpoint": f"{tenant}/oauth2/v2.0/token",
    }
    response = requests.Response()
    response.status_code, response.url, response.request = 200, str(request.url), request
    response.headers["Content-Type"] = "application/json"
    response.raw = io.BytesIO(json.dumps(document).encode())
    return response


def mint() -> str:
    """Mint."""
    session = requests.Session()
    session.mount("https://", Adapter())
    credential = ClientAssertionCredential(
        asked["tenant"],
        asked["client"],
        lambda: str(asked["assertions"].pop(0)),
        transport=RequestsTransport(session=session, session_owner=False),
        disable_instance_discovery=True,
        retry_total=0,
    )
    return str(credential.get_token("https://cognitiveservices.azure.com/.default").token)


report.run("azure-identity", mint)
