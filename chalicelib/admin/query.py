"""The query of an administrator's request: which parameters there are, and what each may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chalicelib.audit import PAGE_DEFAULT, PAGE_LIMIT
from chalicelib.errors import MalformedRequest
from chalicelib.http.messages import Request

TEXT_LIMIT = 1024
"""Characters of a parameter's value at most."""
TIME_LIMIT = 99_999_999_999
"""Epoch seconds at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's parameters, all of them known. Methods raise MalformedRequest that names the parameter."""

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
        """Return how many items a page may hold."""
        return self.number("limit", 1, PAGE_LIMIT) or PAGE_DEFAULT

    def flag(self, name: str) -> bool | None:
        """Return whether it is `true` or `false`, None if it was not sent."""
        value = self.one_of(name, ("true", "false"))
        return value == "true" if value else None

    def one_of(self, name: str, allowed: Iterable[str]) -> str:
        """Return one of a few words, "" if it was not sent."""
        value = self.values.get(name)
        if value is not None and value not in allowed:
            raise MalformedRequest(f"{name} must be one of {', '.join(allowed)}")
        return value or ""


def read(request: Request, *allowed: str) -> Asked:
    """Return the parameters of a request that has no others; raises MalformedRequest that names the allowed."""
    # SECURITY: a misspelt `dry_run` must not do the thing, nor one that says two things at once
    # (test_misspelt_dry_run).
    if request.query.keys() - set(allowed) or request.repeated:
        there_are = f"there are {', '.join(allowed)}, each once" if allowed else "there are none at this route"
        raise MalformedRequest(f"unknown or repeated query parameters: {there_are}")
    for name, value in request.query.items():
        if len(value) > TEXT_LIMIT or any("\ud800" <= character <= "\udfff" for character in value):
            raise MalformedRequest(f"{name} must be text of at most {TEXT_LIMIT} characters")
    return Asked(request.query)
