"""OpenRouter's SDK, which has the endpoint as one of its operations."""

from __future__ import annotations

from openrouter import OpenRouter  # type: ignore[import-not-found]  # in an environment of its own

from tests.integration.federation_sdks.programs import report

asked = report.settings()
client = OpenRouter(server_url=f"{asked['url']}/api/v1")


def mint() -> str:
    """Mint."""
    answer = client.o_auth.create_oauth_token(
        federation_policy_id=asked["policy"],
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=asked["assertions"].pop(0),
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        retries=None,
    )
    return str(answer.access_token)


report.run("openrouter", mint)
