"""Anthropic's SDK, which mints when it makes a call."""

from __future__ import annotations

from anthropic.lib.credentials import WorkloadIdentityCredentials

from tests.integration.federation_sdks.programs import report

asked = report.settings()
credentials = WorkloadIdentityCredentials(
    identity_token_provider=lambda: str(asked["assertions"].pop(0)),
    federation_rule_id=asked["rule"],
    organization_id=asked["organization"],
    service_account_id=asked["service_account"],
    workspace_id=asked["workspace"],
).for_base_url(asked["url"])

report.run("anthropic", lambda: str(credentials().token))
