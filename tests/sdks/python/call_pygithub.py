"""PyGithub, which reads no variable: the program passes them on."""

from __future__ import annotations

import importlib.metadata
import os

import github  # type: ignore[import-not-found]  # in an environment of its own

from tests.sdks.python import calls

client = github.Github(
    auth=github.Auth.Token(os.environ["GITHUB_TOKEN"]),
    base_url=os.environ["GITHUB_API_URL"],
    retry=None,
    seconds_between_requests=None,
    seconds_between_writes=None,
)
repository = client.get_repo("octo/app", lazy=True)

calls.run(
    importlib.metadata.version("PyGithub"),
    {
        "ref": lambda: repository.get_git_ref("heads/main").object.type,
        "file": lambda: str(repository.get_contents("docs/a.md").decoded_content, "utf-8"),
        "branch": lambda: repository.get_branch("feature/x").name,
        "label": lambda: repository.get_issue(1).remove_from_labels("kind: bug"),
        "pages": lambda: [issue.number for issue in repository.get_issues()],
        "refused": lambda: client.get_repo("octo/other", lazy=True).get_git_ref("heads/main").object.type,
    },
)
