"""What administrators are told of federated keys: whose fault it is that nothing was minted, and of which ids."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.federation.minter import digest
from chalicelib.federation.notes import Asked, MintNote, Trial
from chalicelib.providers.versions import KeyInfo
from local.practice.federation import parties
from local.sqlite.mint_notes import SqliteMintNotes
from tests.http_door import ADA, admin_door, problem
from tests.parts import GRANTS, ISSUERS, NOW, Parts

FEDERATED = (ISSUERS + GRANTS).replace(
    "{provider: openai}", f"{{provider: openai, federated: {parties.POLICY['openai']}}}"
)


def tried(parts: Parts, trial: Trial) -> tuple[int, str, str]:
    """The problem that a trial is answered with which ends so."""
    parts.apply(FEDERATED)
    door = admin_door(parts, try_mint=lambda _info, _asked: trial)
    return problem(door.administer("POST", "/admin/keys/{name}/mint", {}, parameters={"name": "openai"}))


@pytest.mark.parametrize(
    ("trial", "status", "title", "said"),
    [
        (
            Trial(problem="invalid_grant", denied=True, request_id="req_1"),
            *(
                422,
                "mint_denied",
                "the provider refuses (invalid_grant), the provider's request req_1: compare its rule",
            ),
        ),
        (
            Trial(problem="too_slow"),
            503,
            "temporarily_unavailable",
            "the provider did not answer with a credential (too_slow); try",
        ),
        (Trial(problem="app_key_missing", denied=True), 422, "mint_unready", "the App's private key is not here"),
        (Trial(problem="no_aws_credentials"), 422, "mint_unready", "this installation has no AWS credentials"),
        (
            Trial(problem="sts_AccessDenied", denied=True),
            422,
            "mint_unready",
            "AWS does not vouch for this installation",
        ),
        (
            Trial(problem="signing_unavailable"),
            503,
            "temporarily_unavailable",
            "the keys that prove us to the provider are out of",
        ),
    ],
)
def test_whose_fault_it_is(parts: Parts, trial: Trial, status: int, title: str, said: str) -> None:
    """What this installation lacks is not blamed on the provider, and nobody is sent to compare a rule."""
    found = tried(parts, trial)
    assert found[:2] == (status, title)
    assert found[2].startswith(said)
    assert ("compare its rule" in found[2]) is (title == "mint_denied")


def test_who_asks_is_told_to_who_mints(parts: Parts) -> None:
    """The administrator and the answer's request id go with a trial, for its event."""
    told: list[Asked] = []

    def try_mint(_info: KeyInfo, asked: Asked) -> Trial:
        told.append(asked)
        return Trial(NOW + 600)

    parts.apply(FEDERATED)
    door = admin_door(parts, try_mint=try_mint)
    answer = door.administer("POST", "/admin/keys/{name}/mint", {}, parameters={"name": "openai"})
    assert told == [Asked(ADA, answer.headers["x-request-id"])]


def test_a_note_of_other_ids_is_not_shown(parts: Parts) -> None:
    """What was noted of ids that the policy has no more says nothing of those that it has."""

    def shown() -> dict[str, Any] | None:
        items = admin_door(parts).administer("GET", "/admin/keys").json["items"]
        found: dict[str, Any] | None = next(one["mint_failure"] for one in items if one["name"] == "openai")
        return found

    parts.apply(FEDERATED)
    info = parts.control.key_info("openai")
    assert info is not None
    note = MintNote("openai", NOW, "invalid_grant", denied=True, failures=2, next_try=NOW + 300, since=NOW - 300)
    notes = SqliteMintNotes(parts.state)
    notes.note_mint("openai", note)
    assert shown() is None
    notes.note_mint("openai", note._replace(minted_for=digest(info)))
    found = shown()
    assert found is not None
    assert (found["text"], found["since"]) == ("the provider refuses (invalid_grant)", NOW - 300)
    assert "minted_for" not in found
