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
def test_valid_request(scope: str) -> None:
    """A revocation has a target, a reason and an author."""
    wanted = Revocation("rev-1", scope, str(GOOD["id"]), "left the company", ADA, NOW, None)
    assert read({**GOOD, "scope": scope}, "rev-1", ADA, NOW) == wanted


@pytest.mark.parametrize("more", [{}, {"id": "*"}])
def test_everything_needs_no_id(more: dict[str, str]) -> None:
    """Scope `everything` needs no id."""
    assert read({"scope": "everything", "reason": "r", **more}, "rev-1", ADA, NOW).target == "*"


def test_everything_has_no_other_id() -> None:
    """Scope `everything` takes no other id than `*`."""
    assert malformed({"scope": "everything", "id": "openai", "reason": "r"}) == "the id of everything must be '*'"


def test_until() -> None:
    """An end can be given and must be in the future."""
    assert read({**GOOD, "until": NOW + 1}, "rev-1", ADA, NOW).until == NOW + 1
    wrong: tuple[object, ...] = (NOW, NOW - 1, 2**53, True, "1900000000", 1.9e9, [])
    for until in wrong:
        assert malformed({**GOOD, "until": until}) == "until must be in the future, in whole epoch seconds"


@pytest.mark.parametrize("fields", [None, [], "x", 5, [GOOD]])
def test_body_is_an_object(fields: object) -> None:
    """The body must be a JSON object."""
    assert malformed(fields) == "the body must be a JSON object"


@pytest.mark.parametrize("scope", [None, "", "Principal", "user", 5, True, [], {}, ["principal"]])
def test_six_scopes(scope: object) -> None:
    """The scope must be one of six."""
    assert malformed({**GOOD, "scope": scope}) == f"scope must be one of {', '.join(SCOPES)}"


@pytest.mark.parametrize("name", ["id", "reason"])
@pytest.mark.parametrize("value", [None, "", "  ", 5, True, [], "x" * (TEXT_LIMIT + 1)])
def test_text_size(name: str, value: object) -> None:
    """Id and reason must be text of 1 to 1024 characters."""
    assert malformed({**GOOD, name: value}) == f"{name} must be text of 1 to {TEXT_LIMIT} characters"


@pytest.mark.parametrize("name", ["id", "reason"])
def test_text_is_unicode(name: str) -> None:
    """Id and reason must be Unicode text."""
    assert malformed({**GOOD, name: "\ud800"}) == f"{name} must be Unicode text"


def test_unknown_members() -> None:
    """Unknown members are named."""
    assert malformed({**GOOD, "untill": NOW + 1, "author": "me"}) == "unknown members: author, untill"
