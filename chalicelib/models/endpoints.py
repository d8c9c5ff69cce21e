"""Which endpoints a grant with `models` can open: those where `model` alone says which model runs, and where it is named.

What a provider's entry does not list is closed to such grants: batches, files, assistants, threads, agents, fine-tuning,
stored answers, live sessions. Paths are in the provider's own form (providers/presets.py).
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from chalicelib.providers.presets import PROVIDERS


class Endpoint(NamedTuple):
    """One endpoint that runs a model."""

    scope: str
    """`METHOD:/path`, with `{model}` where the path names the model."""
    bodies: tuple[str, ...]
    """The kinds of body that it takes; empty if none."""
    refused: frozenset[str]
    """Members of the body, or `member=value`, that have it run another model."""
    prefix: str
    """An optional prefix of a model's name in the body."""


@cache
def endpoints(provider: str) -> tuple[Endpoint, ...]:
    """Return a provider's endpoints; empty if none of it is open to a grant with `models`."""
    return tuple(
        Endpoint(f"{group.method}:{group.base}/{name}", group.bodies, group.refused, group.prefix)
        for group in PROVIDERS[provider].models
        for name in group.names.split()
    )


def find(provider: str, scope: str) -> tuple[Endpoint, str | None] | None:
    """Return the endpoint of a call's `METHOD:/path`, and the model that its path names; None if it has no such endpoint."""
    for endpoint, pattern in _patterns(provider):
        found = pattern.fullmatch(scope)
        if found:
            return endpoint, found["model"] if pattern.groups else None
    return None


@cache
def _patterns(provider: str) -> tuple[tuple[Endpoint, re.Pattern[str]], ...]:
    return tuple((one, re.compile(_pattern(one.scope))) for one in endpoints(provider))


def _pattern(scope: str) -> str:
    # A model that ends its path may have slashes in its name (`models/meta-llama/Llama-3`): all of it is the name.
    written = re.escape(scope)
    if written.endswith(r"/\{model\}"):
        written = written.removesuffix(r"\{model\}") + "(?P<model>.+)"
    return written.replace(r"\{model\}", "(?P<model>[^/]+)")
