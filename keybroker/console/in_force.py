"""The revocations in force, but for those of single tokens: whom and what they stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keybroker.console.api import Api, Known

WIDE: Final = ("everything", "issuer", "key", "grant")
_PATH: Final = "/admin/revocations"
_LIMIT: Final = 200
_MOST_PAGES: Final = 5
NEWEST: Final[tuple[str, Mapping[str, object]]] = (_PATH, {"in_force": "true", "limit": _LIMIT})
"""What a page asks for along with everything else; there is seldom more."""

Revocation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InForce:
    """known: the answers' problem and time. items: the newest first. is_whole: whether these are all."""

    known: Known
    items: Sequence[Revocation]
    is_whole: bool

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it."""
        return self.known.data is not None

    def of(self, scope: str, target: str) -> Revocation | None:
        """Return the newest revocation of exactly this."""
        return next((one for one in self.items if (one["scope"], one["target"]) == (scope, target)), None)

    def wide(self) -> list[Revocation]:
        """Return those of more than a principal, the widest first."""
        return [one for scope in WIDE for one in self.items if one["scope"] == scope]

    def principals(self) -> list[Revocation]:
        """Return those of principals, the newest first."""
        return [one for one in self.items if one["scope"] == "principal"]

    def on(self, principal: str, grants: Iterable[str] = (), key: str = "") -> Revocation | None:
        """Return what stops a principal's calls under these grants with this key; None if one of the grants is left."""
        grants = tuple(grants)
        frozen = [self.of("grant", one) for one in grants]
        return (
            self.of("principal", principal)
            or self.of("everything", "*")
            or self.of("issuer", issuer(principal))
            or self.of("key", key)
            or (frozen[0] if frozen and all(frozen) else None)
        )


def read(api: Api, newest: Known) -> InForce:
    """Return them all, or as many as are read for a page. newest: the answer to NEWEST."""
    if newest.data is None or newest.data["next"] is None:
        return InForce(newest, (newest.data or {"items": ()})["items"], is_whole=newest.data is not None)
    # SECURITY: many revocations of principals hide no wider one (test_two_hundred_newer_ones_hide_no_revocation).
    answers = [newest, *api.get_all(*((_PATH, {**NEWEST[1], "scope": scope}) for scope in WIDE))]
    after = newest.data["next"]
    for _ in range(_MOST_PAGES - 1):
        if after is None:
            break
        page = api.get(_PATH, {**NEWEST[1], "after": after})
        answers.append(page)
        after = page.data["next"] if page.data else None
    problem = next((one.problem for one in answers if one.problem), None)
    found = {one["id"]: one for answer in answers if answer.data for one in answer.data["items"]}
    items = sorted(found.values(), key=lambda one: -one["at"])
    return InForce(Known(newest.data, newest.at, problem), items, is_whole=after is None and problem is None)


def issuer(principal: str) -> str:
    """Return the issuer in a principal's id, as revocations name it."""
    url, mark, _ = principal.partition("|")
    return url if mark else "aws"
