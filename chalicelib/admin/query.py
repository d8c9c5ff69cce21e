"""Reads the query of an administrator's request strictly: parameters that a route does not know are refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chalicelib.audit import PAGE_DEFAULT, PAGE_LIMIT
from chalicelib.errors import MalformedRequest
from chalicelib.http.messages import Request

TEXT_LIMIT = 1024
"""Characters of a parameter's value at most."""
TIME_LIMIT = 99_999_999_999
"""Epoch seconds at most."""


@dataclass(frozen=True, slots=True)
class QueryParams:
    """The parameters of a request, all known to its route. Methods raise MalformedRequest that names the parameter."""

    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """Return a parameter, "" if it was not sent."""
        return self.values.get(name, "")

    def number(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number within bounds, None if it was not sent."""
        value = self.values.get(name)
        if value is None:
            return None
        # Digits are counted before they are read: int() of very many is slow, or raises.
        plain = value.isascii() and value.isdecimal() and len(value) <= len(str(most))
        if not plain or not least <= int(value) <= most:
            raise MalformedRequest(f"{name} must be a whole number from {least} to {most}")
        return int(value)

    def time(self, name: str) -> int | None:
        """Return a time in epoch seconds, None if it was not sent."""
        return self.number(name, 0, TIME_LIMIT)

    def limit(self) -> int:
        """Return the number of items on a page at most."""
        return self.number("limit", 1, PAGE_LIMIT) or PAGE_DEFAULT

    def flag(self, name: str) -> bool | None:
        """Return whether it is `true` or `false`, None if it was not sent."""
        value = self.one_of(name, ("true", "false"))
        return value == "true" if value else None

    def one_of(self, name: str, allowed: Iterable[str]) -> str:
        """Return one of the allowed words, "" if it was not sent."""
        value = self.values.get(name)
        if value is not None and value not in allowed:
            raise MalformedRequest(f"{name} must be one of {', '.join(allowed)}")
        return value or ""


def read(request: Request, *allowed: str) -> QueryParams:
    """Return the parameters of a request; raises MalformedRequest if it has any but the allowed ones."""
    # SECURITY: a request with a misspelt or contradictory `dry_run` must not be carried out (test_misspelt_dry_run).
    if request.query.keys() - set(allowed) or request.repeated:
        accepted = f"{', '.join(allowed)}, each once" if allowed else "none"
        raise MalformedRequest(f"unknown or repeated query parameters: this route takes {accepted}")
    for name, value in request.query.items():
        if len(value) > TEXT_LIMIT or not is_unicode(value):
            raise MalformedRequest(f"{name} must be text of at most {TEXT_LIMIT} characters")
    return QueryParams(request.query)


def dry_run(request: Request) -> bool:
    """Return whether a request that has no other parameter is a dry run; raises as `read`."""
    return read(request, "dry_run").flag("dry_run") or False


@contextlib.contextmanager
def checking_cursor() -> Iterator[None]:
    """Turn the ValueError that a port raises for a cursor it did not make into MalformedRequest."""
    try:
        yield
    except ValueError:
        raise MalformedRequest("after must be the `next` of the previous page") from None


def is_unicode(text: str) -> bool:
    """Whether a text can be stored: JSON and percent-encoding can spell half a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
