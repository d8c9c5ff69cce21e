"""What a provider's key looks like, so that `keybroker doctor` finds leaked keys.

Source: the prefixes that the providers publish, in the form that gitleaks and betterleaks match them (2026).
Why no detector library: docs/dependencies.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PATTERNS = {
    "anthropic": r"sk-ant-(?:api|admin)\d{2}-[\w-]{80,120}",
    "openai": r"sk-(?:(?:proj|svcacct|admin)-[\w-]{20,80}|[A-Za-z0-9]{20})T3BlbkFJ[\w-]{20,80}",
    "openrouter": r"sk-or-v1-[0-9a-f]{64}",
    "gemini": r"AIza[\w-]{35}",
    "groq": r"gsk_[A-Za-z0-9]{52}",
    "xai": r"xai-[\w-]{70,120}",
    "together": r"tgp_v1_[\w-]{43}",
    "github": r"github_pat_\w{82}|gh[pousr]_[A-Za-z0-9]{36,}",
    "stripe": r"[rs]k_live_[0-9A-Za-z]{24,}",
}
"""Provider -> the whole key. These are recognised anywhere."""
_NAMES = {
    "mistral": ("MISTRAL_API_KEY", r"[A-Za-z0-9]{32}"),
    "cohere": ("CO_API_KEY|COHERE_API_KEY", r"[A-Za-z0-9]{40}"),
    "deepseek": ("DEEPSEEK_API_KEY", r"sk-[a-f0-9]{32}"),
    "azure-openai": ("AZURE_OPENAI_API_KEY|AZURE_OPENAI_KEY", r"[A-Za-z0-9]{32,84}"),
}
"""Provider -> variables and their values. These keys have no prefix, so only an assignment identifies them."""
_ANY = re.compile(
    "|".join(
        [
            *(rf"(?P<{_group}>\b(?:{_text})(?![\w-]))" for _group, _text in _PATTERNS.items()),
            *(
                rf"(?P<{_group.replace('-', '_')}>\b(?:{_variables})['\"]?\s*[=:]\s*['\"]?(?:{_value})(?![\w-]))"
                for _group, (_variables, _value) in _NAMES.items()
            ),
        ]
    ),
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A provider's key in a text. line: from 1. The key itself is not stored."""

    provider: str
    line: int


def find(text: str) -> Iterator[Found]:
    """Yield the keys in a text, each provider once per line."""
    for number, line in enumerate(text.splitlines(), 1):
        kinds = {str(match.lastgroup).replace("_", "-") for match in _ANY.finditer(line)}
        yield from (Found(kind, number) for kind in sorted(kinds))
