"""google-auth: a workload identity pool's credentials that impersonate a service account."""

from __future__ import annotations

import google.auth.transport.requests
from google.auth import identity_pool

from tests.integration.federation_sdks.programs import report

asked = report.settings()


class Supplier(identity_pool.SubjectTokenSupplier):
    """Supplies our assertions."""

    def get_subject_token(self, context: object, request: object) -> str:
        """Return the next one."""
        del context, request
        return str(asked["assertions"].pop(0))


def mint() -> str:
    """Mint both tokens, and return the service account's."""
    url = f"{asked['url']}/v1/projects/-/serviceAccounts/{asked['account']}:generateAccessToken"
    credentials = identity_pool.Credentials(  # type: ignore[no-untyped-call]  # it is not typed
        audience=asked["audience"],
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url=f"{asked['url']}/v1/token",
        subject_token_supplier=Supplier(),
        service_account_impersonation_url=url,
        scopes=["https://www.googleapis.com/auth/cloud-platform"],
    )
    credentials.refresh(google.auth.transport.requests.Request())  # type: ignore[no-untyped-call]  # as that
    return str(credentials.token)


report.run("google-auth", mint)
