"""PyGithub, which signs an App's JWT itself."""

from __future__ import annotations

import github  # type: ignore[import-not-found]  # in an environment of its own

from tests.integration.federation_sdks.programs import report

asked = report.settings()
integration = github.GithubIntegration(
    auth=github.Auth.AppAuth(asked["client"], asked["private_key"]),
    base_url=asked["url"],
    retry=None,
    seconds_between_requests=None,
    seconds_between_writes=None,
)

report.run("PyGithub", lambda: str(integration.get_access_token(asked["installation"]).token))
