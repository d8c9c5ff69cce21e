"""Finds providers' keys in a text by what they look like, so that `keybroker doctor` finds leaked ones."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keybroker.cli import provider_data


@dataclass(frozen=True, slots=True)
class Found:
    """A provider's key in a text. line: from 1. The key itself is not stored."""

    provider: str
    line: int


def find(text: str) -> Iterator[Found]:
    """Yield the keys in a text, each provider once per line."""
    any_key = _any_key()
    for number, line in enumerate(text.splitlines(), 1):
        kinds = {str(match.lastgroup).replace("_", "-") for match in any_key.finditer(line)}
        yield from (Found(kind, number) for kind in sorted(kinds))


@functools.cache
def _any_key() -> re.Pattern[str]:
    """What matches a key of any provider, in a group with that provider's name; those with a prefix come first."""
    known: Mapping[str, Mapping[str, Sequence[str]]] = provider_data.load()["key_patterns"]
    by_prefix = [(name, one) for name, one in known.items() if not one["variables"]]
    by_variable = [(name, one) for name, one in known.items() if one["variables"]]
    forms = [rf"(?P<{_group(name)}>\b(?:{one['pattern']})(?![\w-]))" for name, one in by_prefix]
    for name, one in by_variable:
        assigned = rf"\b(?:{'|'.join(one['variables'])})['\"]?\s*[=:]\s*['\"]?(?:{one['pattern']})(?![\w-])"
        forms.append(rf"(?P<{_group(name)}>{assigned})")
    return re.compile("|".join(forms), re.ASCII)


def _group(provider: str) -> str:
    return provider.replace("-", "_")
