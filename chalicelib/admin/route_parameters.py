"""Parameters that several of the administrators' routes take."""

from __future__ import annotations

from chalicelib.admin.query import TEXT_LIMIT, TIME_LIMIT
from chalicelib.audit import PAGE_DEFAULT, PAGE_LIMIT
from chalicelib.http.route import TEXT, Parameter
from chalicelib.quota import WINDOWS


def time(name: str, text: str) -> Parameter:
    """Return a parameter that is a time."""
    return Parameter(name, text, {"type": "integer", "minimum": 0, "maximum": TIME_LIMIT})


def exact(name: str, text: str, *, required: bool = False) -> Parameter:
    """Return a parameter that is a text, compared exactly."""
    return Parameter(name, text, {**TEXT, "maxLength": TEXT_LIMIT}, required=required)


DRY_RUN = Parameter("dry_run", "true: return what would happen, and change nothing", {"type": "boolean"})
PROBE = Parameter(
    "probe",
    "false: do not ask the provider whether the value works; else a value that it refuses, or says nothing of, changes nothing",
    {"type": "boolean"},
)
LEAKED = Parameter(
    "leaked",
    "true: the value that is replaced is known to others, so that nobody can go back to it",
    {"type": "boolean"},
)
PAGING = (
    Parameter(
        "limit",
        "maximum number of items on the page",
        {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE_DEFAULT},
    ),
    exact("after", "the `next` of the previous page"),
)
PRINCIPAL_ID = Parameter(
    "principal_id", "a principal's `sub`, entirely percent-encoded", location="path", required=True
)
OF_POLICY = (
    Parameter("version", "that version of the policy", {"type": "integer", "minimum": 1, "maximum": 999_999_999}),
    time("at", "the policy that was in force at this time"),
)
IF_MATCH = Parameter(
    "If-Match",
    'the ETag of the policy that you planned against; "0" if there is none',
    {**TEXT, "pattern": '^"[0-9]{1,9}"$'},
    location="header",
    required=True,
)
WINDOW = Parameter("window", "the length of the window", {"enum": list(WINDOWS), "default": "day"})
