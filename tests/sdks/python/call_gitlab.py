"""python-gitlab, whose own variables are of a CI: the program passes ours on."""

from __future__ import annotations

import importlib.metadata
import os

import gitlab  # type: ignore[import-not-found]  # in an environment of its own

from tests.sdks.python import calls

client = gitlab.Gitlab(os.environ["GITLAB_BASE_URL"], oauth_token=os.environ["GITLAB_API_KEY"])

calls.run(
    importlib.metadata.version("python-gitlab"),
    {
        "project": lambda: client.projects.get("group/app").path_with_namespace,
        "pages": lambda: [
            issue.iid for issue in client.projects.get(17, lazy=True).issues.list(iterator=True, per_page=1)
        ],
        "refused": lambda: client.projects.get("group/other").path_with_namespace,
    },
)
