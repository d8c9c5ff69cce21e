"""Why a rotation came no further, in words, with what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from keybroker.cli.key_pages import page

_WAIT = frozenset({"408", "409", "425", "429"})
_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "status_401": "the provider does not know the management key: set one that is valid: {manage}",
        "status_403": "the provider does not let the management key make, list and delete keys: set one that may: {manage}",
        "status_404": "the provider does not know the project or account that is set: {manage}",
        "status_429": "the provider asks for fewer requests",
        "malformed": "the provider's answer was not understood",
        "too_many": "the account has more than 1000 keys: delete those that nobody uses at {page}",
    }
)


def words(problem: str, name: str, provider: str) -> str:
    """Return a problem in words. problem: the fixed word that the broker answers. name, provider: the key's."""
    text = _TEXTS.get(problem)
    if text:
        return f"{text.format(manage=_manage(name, provider), page=page(provider))} ({problem})"
    if problem.startswith("probe_"):
        return f"the provider made a key and does not accept it in a call yet, so it was deleted again ({problem})"
    if re.fullmatch(r"status_4\d\d", problem):
        return f"the provider does not do what it was asked: see that its account may have more keys, at {page(provider)} ({problem})"
    return f"the provider failed or was not reached ({problem})"


def lasting(problem: str) -> bool:
    """Whether asking again is of no use before a person has changed something."""
    refused = re.fullmatch(r"status_(4\d\d)", problem)
    return problem == "too_many" or (refused is not None and refused[1] not in _WAIT)


def _manage(name: str, provider: str) -> str:
    settings = " --set project=… --set service_account=…" if provider == "openai" else ""
    return f"keybroker keys manage {name}{settings}"
