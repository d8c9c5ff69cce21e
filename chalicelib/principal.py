"""Who a caller is: an issuer, and an id at that issuer that is never recycled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

AWS = "aws"
"""The issuer of callers that API Gateway authenticated by IAM."""

SUB_LIMIT = 512
"""Bytes of a stable id at most, in UTF-8, so that a `sub` fits into a key of the state."""


RefusedValues = tuple[tuple[str, tuple[str | bool, ...]], ...]
"""Claims with values that a grant admits only if it lists the value itself."""


class Identity(NamedTuple):
    """Which claims identify an issuer's subjects for good. All of them are text."""

    name: str
    """What an id of theirs starts with, e.g. `repository_id`."""
    paths: tuple[tuple[str, ...], ...]
    """The claims, nested ones by the names on the way."""


class Principal(NamedTuple):
    """An issuer's URL (or `aws`), a stable id such as `repository_id:1234`, and a name for people to read."""

    issuer: str
    id: str
    name: str

    @property
    def sub(self) -> str:
        """The `sub` of issued tokens: `<issuer URL>|<claim>:<value>`, or the ARN of an AWS principal."""
        return sub(self.issuer, self.id)


def sub(issuer: str, stable_id: str) -> str:
    """Build a `sub` from its two parts."""
    return stable_id if issuer == AWS else f"{issuer}|{stable_id}"


def stable_id(identity: Identity, claims: Mapping[str, object]) -> str | None:
    """Return `<name>:<value>` (values of several claims with `/` between); None unless each is text without `/`."""
    values = [look_up(path, claims) for path in identity.paths]
    if not all(isinstance(value, str) and value for value in values):
        return None
    if len(values) > 1 and any("/" in str(value) for value in values):
        return None  # else two subjects could have the same id
    found = f"{identity.name}:{'/'.join(map(str, values))}"
    return found if len(found.encode("utf-8", "surrogatepass")) <= SUB_LIMIT else None


def identity_fault(identity: Identity, claims: Mapping[str, object]) -> str:
    """Say why `stable_id` is None: which claim it is, and what is wrong with it; never what the claim holds."""
    for path in identity.paths:
        value, what = look_up(path, claims), f"its claim {'.'.join(path)!r}, which says who the caller is,"
        if value is None or value == "":
            return f"{what} is missing or empty"
        if not isinstance(value, str):
            return f"{what} is not text"
        if len(identity.paths) > 1 and "/" in value:
            return f"{what} has a '/' in it"
    return f"what says who the caller is ({', '.join('.'.join(path) for path in identity.paths)}) is over {SUB_LIMIT} bytes"


def candidates(issuer: str, identities: Iterable[Identity], unverified_claims: Mapping[str, object]) -> tuple[str, ...]:
    """Return every `sub` that these unverified claims may turn out to have, to read state ahead of verification."""
    ids = {stable_id(identity, unverified_claims) for identity in identities}
    return tuple(sorted(sub(issuer, one) for one in ids if one is not None))


def look_up(path: tuple[str, ...], claims: Mapping[str, object]) -> object:
    """Return a claim, nested ones by the names on the way; None if it is missing."""
    found: object = claims
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found
