"""A matrix of jobs: what docs/ci.md says of their identities, their quota and their retries."""

from __future__ import annotations

from pathlib import Path

import pytest

from keybroker.claims import unverified_claims
from tests.ci.test_github_action import Job, job, status
from tests.running import Running

OWNER = "7"
"""Its grant `small` gives three tokens a day to each principal."""


def run(running: Running, directory: Path, repository_id: str) -> tuple[int, str, Job]:
    """Run one job of the matrix, on a runner of its own; return the step's exit code and output, and the job."""
    directory.mkdir()
    with job(running, directory, repository_id, repository_owner_id=OWNER) as one:
        done = one.step("token")
    return done.returncode, done.stdout, one


@pytest.mark.slow
def test_jobs_of_a_matrix_share_one_quota(running: Running, tmp_path: Path) -> None:
    """Each job exchanges an identity of its own, all are one principal, and the job beyond the quota is told so."""
    made = [run(running, tmp_path / str(number), "70201") for number in range(4)]
    assert [code for code, _, _ in made] == [0, 0, 0, 1]
    tokens = [one.written("OUTPUT")["token"] for _, _, one in made[:3]]
    assert len(set(tokens)) == 3
    assert {str(unverified_claims(token)["sub"]).rpartition("|")[2] for token in tokens} == {"repository_id:70201"}
    refused = made[3][1]
    assert refused.startswith("::error title=Keybroker::quota_exceeded: 3/day tokens are used up")
    assert "::add-mask::" not in refused
    assert [status(running, token) for token in tokens] == [200] * 3, "the refusal of one job ends no other"
    assert run(running, tmp_path / "other", "70202")[0] == 0, "another repository has a quota of its own"


@pytest.mark.slow
def test_a_job_that_ends_leaves_its_siblings_their_tokens(running: Running, tmp_path: Path) -> None:
    """When a job of a matrix ends, its own token is revoked and no other; its place in the quota is used up."""
    (_, _, first), (_, _, second) = (run(running, tmp_path / name, "70203") for name in ("first", "second"))
    assert first.step("revoke", **first.state()).returncode == 0
    assert status(running, first.written("OUTPUT")["token"]) == 403
    assert status(running, second.written("OUTPUT")["token"]) == 200
    codes = [run(running, tmp_path / name, "70203")[0] for name in ("again", "once more")]
    assert codes == [0, 1]
