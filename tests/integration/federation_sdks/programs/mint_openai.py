"""OpenAI's SDK, which mints when it makes a call."""

from __future__ import annotations

from openai.auth import WorkloadIdentityAuth

from tests.integration.federation_sdks.programs import report

asked = report.settings()
auth = WorkloadIdentityAuth(
    workload_identity={
        "identity_provider_id": asked["provider"],
        "service_account_id": asked["service_account"],
        "provider": {"token_type": "jwt", "get_token": lambda: str(asked["assertions"].pop(0))},
    },
    token_exchange_url=f"{asked['url']}/oauth/token",
)


def mint() -> str:
    """Mint anew, as after a call was refused."""
    auth.invalidate_token()
    return auth.get_token()


report.run("openai", mint)
