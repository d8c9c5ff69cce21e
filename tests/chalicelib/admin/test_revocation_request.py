from __future__ import annotations

import pytest

from chalicelib.admin.revocation_request import TEXT_LIMIT, read
from chalicelib.errors import Refusal
from chalicelib.revocation import SCOPES, Revocation

NOW = 1_800_000_000
GOOD: dict[str, object] = {
    "scope": "principal",
    "id": "https://ci.example|repository_id:1",
    "reason": "left the company",
}
ADA = "arn:aws:iam::1:user/ada"


def malformed(fields: object) -> str:
    with pytest.raises(Refusal) as caught:
        read(fields, "rev-1", ADA, NOW)
    refusal = caught.value
    assert (refusal.reason, refusal.error, refusal.status) == ("malformed_request", "invalid_request", 400)
    return refusal.description


@pytest.mark.parametrize("scope", SCOPES[1:])
def test_a_revocation_names_what_and_why_and_who(scope: str) -> None:
    wanted = Revocation("rev-1", scope, str(GOOD["id"]), "left the company", ADA, NOW, None)
    assert read({**GOOD, "scope": scope}, "rev-1", ADA, NOW) == wanted


@pytest.mark.parametrize("more", [{}, {"id": "*"}])
def test_everything_needs_no_id(more: dict[str, str]) -> None:
    assert read({"scope": "everything", "reason": "r", **more}, "rev-1", ADA, NOW).target == "*"


def test_everything_has_no_other_id() -> None:
    assert malformed({"scope": "everything", "id": "openai", "reason": "r"}) == "id of everything is '*'"


def test_an_end_may_be_given_and_lies_ahead() -> None:
    assert read({**GOOD, "until": NOW + 1}, "rev-1", ADA, NOW).until == NOW + 1
    wrong: tuple[object, ...] = (NOW, NOW - 1, 2**53, True, "1900000000", 1.9e9, [])
    for until in wrong:
        assert malformed({**GOOD, "until": until}) == "until must be a time to come, in whole seconds since 1970"


@pytest.mark.parametrize("fields", [None, [], "x", 5, [GOOD]])
def test_the_body_is_an_object(fields: object) -> None:
    assert malformed(fields) == "the body must be a JSON object"


@pytest.mark.parametrize("scope", [None, "", "Principal", "user", 5, True, [], {}, ["principal"]])
def test_the_scope_is_one_of_six(scope: object) -> None:
    assert malformed({**GOOD, "scope": scope}) == f"scope must be one of {', '.join(SCOPES)}"


@pytest.mark.parametrize("name", ["id", "reason"])
@pytest.mark.parametrize("value", [None, "", "  ", 5, True, [], "x" * (TEXT_LIMIT + 1)])
def test_id_and_reason_are_text_of_bounded_size(name: str, value: object) -> None:
    assert malformed({**GOOD, name: value}) == f"{name} must be text of 1 to {TEXT_LIMIT} characters"


@pytest.mark.parametrize("name", ["id", "reason"])
def test_id_and_reason_are_unicode_text(name: str) -> None:
    assert malformed({**GOOD, name: "\ud800"}) == f"{name} must be Unicode text"


def test_members_that_are_unknown_are_named() -> None:
    assert malformed({**GOOD, "untill": NOW + 1, "author": "me"}) == "unknown members: author, untill"
