"""What all pages have: the administration, the session's token for changes, what was noted at each revocation."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment

from keybroker.cli.plain_text import plain
from keybroker.console import rendering
from keybroker.console.api import Api, Known, Problem
from keybroker.console.server import Page

_PROOFS: Final = 100
_REVOCATIONS: Final = 2000
NAVIGATION: Final = (
    ("/", "Now"),
    ("/principals", "Principals"),
    ("/grants", "Grants"),
    ("/keys", "Keys"),
    ("/audit", "Audit"),
    ("/policy", "Policy"),
)


@dataclass(frozen=True, slots=True)
class Noted:
    """What was known of a principal right after a revocation of it was acknowledged."""

    acknowledged: float
    """Epoch seconds, by this machine's clock."""
    took: float
    """Seconds from the request to the acknowledgement."""
    calls: int
    """Admitted today, as they were counted then."""
    refused: int
    """Refused today, likewise."""


@dataclass
class Console:
    """The pages' common ground."""

    api: Api
    csrf: str = field(repr=False)
    clock: Callable[[], float] = time.time
    templates: Environment = field(default_factory=rendering.environment)
    noted: OrderedDict[str, Noted] = field(default_factory=OrderedDict)
    """By the revocation's id."""
    revocations: OrderedDict[str, Mapping[str, Any]] = field(default_factory=OrderedDict)
    """What was seen of revocations, by id: when each was made, by whom and why, never changes."""

    def page(
        self,
        template: str,
        title: str,
        known: Iterable[Known] = (),
        problems: Iterable[Problem | None] = (),
        status: int = 200,
        **context: Any,  # noqa: ANN401  whatever the template shows
    ) -> Page:
        """Return a page. known: what it is made of, whose problems are shown above it, with the time of what is shown."""
        answers = tuple(known)
        found = [one.problem for one in answers if one.problem] + [one for one in problems if one]
        stale = min((one.at for one in answers if one.problem and one.data is not None), default=None)
        as_of = min((one.at for one in answers if one.data is not None), default=None)
        common = {
            "title": plain(title),
            "navigation": NAVIGATION,
            "csrf": self.csrf,
            "now": self.clock(),
            "problems": list(dict.fromkeys(found)),
            "stale": stale,
            "as_of": None if stale else as_of,
            "denied": self.api.denied,
            "server": urlsplit(self.api.client.url).netloc or self.api.client.url,
        }
        return Page(rendering.render(self.templates, template, {**common, **context}), status)

    def note(self, revocation: str, noted: Noted) -> None:
        """Keep what was known at a revocation."""
        self.noted[revocation] = noted
        while len(self.noted) > _PROOFS:
            self.noted.popitem(last=False)

    def remember(self, revocations: Iterable[Mapping[str, Any]]) -> None:
        """Keep what is known of revocations, so that it need not be looked for again."""
        for one in revocations:
            self.revocations[one["id"]] = one
        while len(self.revocations) > _REVOCATIONS:
            self.revocations.popitem(last=False)


def total(found: dict[str, Any] | None) -> tuple[int, int]:
    """Return how many calls of a principal were admitted and refused today."""
    grants = (found or {}).get("today", {}).get("grants", ())
    return sum(one["calls"] for one in grants), sum(sum(one["refused_calls"].values()) for one in grants)
