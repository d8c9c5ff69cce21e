"""Who used what, and how much: the counters that quotas are counted with, to be read by people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

from chalicelib.audit import PAGE_DEFAULT
from chalicelib.budget import BudgetUse
from chalicelib.quota import WINDOWS, cursor_key

RECENT_SECONDS = 3600
"""Seconds that count as recent: this minute and the 59 before."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What one model's answers say that they took. Tokens are the models' here, and none of ours."""

    model: str
    """As the answers name it; "" where they do not, OTHER for all beyond MODELS_KEPT."""
    answers: int = 0
    """Answers of the model, whole or not."""
    unknown: int = 0
    """Those of which not all is known: broken off, or without a word of it, or not to be read."""
    input_tokens: int = 0
    """Tokens of the input, with those from a cache."""
    output_tokens: int = 0
    """Tokens of the output, with those of reasoning."""
    cached_tokens: int = 0
    """Tokens of the input that came from a cache."""


OTHER = "other"
"""Stands for the models of a principal under a grant beyond MODELS_KEPT in a day."""
MODELS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Use:
    """What one principal did under one grant in one window."""

    principal: str
    grant: str
    """"" for tokens that were refused before a grant was chosen."""
    key: str = ""
    """The name of the grant's key; "" as for the grant."""
    name: str = ""
    """The principal's name, for people."""
    tokens: int = 0
    """Tokens issued."""
    calls: int = 0
    """Calls admitted."""
    refused_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens refused, by reason."""
    refused_calls: Mapping[str, int] = field(default_factory=dict)
    """Calls refused, by reason."""
    last_seen: int = 0
    """Epoch seconds, to the minute."""
    models: tuple[ModelUse, ...] = ()
    """What its answers took, by model; empty where nobody reads them, as at CloudFront, or nobody asked for it."""
    budgets: Mapping[str, BudgetUse] = field(default_factory=dict)
    """What it took of its grant's budgets, by what; empty where the grant has none."""

    def cursor_key(self) -> str:
        """Return the cursor of the page that begins after it."""
        return cursor_key(self.principal, self.grant)

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        budgets = {what: one.to_json() for what, one in self.budgets.items()}
        return {**asdict(self), "budgets": budgets}


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Whose usage, of which window."""

    window: str
    """One of WINDOWS."""
    start: int
    """When the window began, in epoch seconds."""
    principal: str = ""
    """A `sub`, exactly; "" for any."""
    grant: str = ""
    """A grant's name, exactly; "" for any."""
    key: str = ""
    """A key's name, exactly; "" for any."""
    after: str = ""
    """The cursor of the page before; "" for the first page."""
    limit: int = PAGE_DEFAULT
    """Uses on a page, at most."""
    now: int = 0
    """Epoch seconds; which calls are still under way depends on it."""
    models: bool = True
    """Whether to read what their answers took as well."""


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Uses, by principal and grant, and the cursor of the next page ("" at the end).

    A page may hold fewer than were asked for, or none, and still have a next one: each reads a bounded number of rows.
    """

    uses: tuple[Use, ...]
    next: str


class Answered(NamedTuple):
    """What a principal's answers took under one grant in one minute."""

    principal: str
    grant: str
    key: str
    minute: int
    """When it began, in epoch seconds."""
    use: ModelUse


class NotAdded(NamedTuple):
    """What a store did not add, or may not have."""

    left: tuple[Answered, ...] = ()
    """Of these nothing was added: to be added later."""
    uncertain: int = 0
    """So many may have been added or not; added again, they might count twice."""
    cause: str = ""
    """Why: AWS's word or the client's for what failed first, "" where there is none."""


class AnswerUsage(Protocol):
    """Where it is counted what answers took."""

    def add(self, answered: Collection[Answered]) -> NotAdded:
        """Add each to all of its windows, or to none, and return what was not. Raises Unavailable: nothing was added."""


class Usage(Protocol):
    """Where counters are read. Methods raise Unavailable. What is read may be some seconds old."""

    def uses(self, query: UsageQuery) -> UsagePage:
        """Return the usage of a window; raises ValueError for a malformed cursor.

        The counters of all callers of a grant together (`quota.EVERYBODY`) are left out.
        """

    def recent_calls(self, pairs: Collection[tuple[str, str]], now: int) -> Mapping[tuple[str, str], int]:
        """Return how many calls were admitted in this minute and the 59 before, by (principal, grant)."""


class OwnUsage(Protocol):
    """Where a caller's own counters are read."""

    def own(self, principal: str, grant: str, now: int) -> Mapping[str, Use]:
        """Return, by each of WINDOWS, what a principal did under a grant in the window of a time; zeros where it did nothing.

        It reads a bounded number of items. now: epoch seconds. Raises Unavailable.
        """


def window_start(window: str, at: int) -> int:
    """Return when the window of a time began, in epoch seconds."""
    return at - at % WINDOWS[window]
