"""Which member of a call limits its output, endpoint by endpoint, and what models put out where none does.

Where it is from: the providers' API references and model pages, as read in 2026.
"""

from __future__ import annotations

_BOTH = frozenset({"openai", "azure-openai", "groq", "openrouter", "xai", "gemini"})
"""Providers whose chats know `max_completion_tokens`, too; others would ignore it."""
_MEMBERS: dict[str, frozenset[str]] = {
    "/chat/completions": frozenset({"max_tokens"}),
    "/completions": frozenset({"max_tokens"}),
    "/responses": frozenset({"max_output_tokens"}),
    "/messages": frozenset({"max_tokens"}),
    "/complete": frozenset({"max_tokens_to_sample"}),
    "/chat": frozenset({"max_tokens"}),
    ":generateContent": frozenset({"maxOutputTokens", "max_output_tokens"}),
    ":streamGenerateContent": frozenset({"maxOutputTokens", "max_output_tokens"}),
    "/embeddings": frozenset(),
    "/embed": frozenset(),
    ":embedContent": frozenset(),
    ":batchEmbedContents": frozenset(),
}
"""By the end of an endpoint's path; none where there is no output."""
DEFAULT_OUTPUT = 128_000
"""Tokens of output that a model may have whose own maximum is not known here."""
_OUTPUTS: tuple[tuple[str, int], ...] = (
    ("gpt-3.5-turbo-16k", 16_384),
    ("gpt-3.5", 4_096),
    ("gpt-4-turbo", 4_096),
    ("gpt-4o:extended", 65_536),
    ("gpt-4o-64k-output", 65_536),
    ("gpt-4o", 16_384),
    ("gpt-4.1", 32_768),
    ("o1", 100_000),
    ("o3", 100_000),
    ("o4", 100_000),
    ("gemini-1.5", 8_192),
    ("gemini-2.0", 8_192),
    ("gemini-2.5", 65_536),
    ("gemini-3", 65_536),
)
"""By how a model's name begins, the most that it puts out; the first that fits counts."""


def limit_members(provider: str, endpoint: str) -> frozenset[str] | None:
    """Return the members that limit the output of an endpoint; None if its output has no limit that is known."""
    ends = [end for end in _MEMBERS if endpoint.endswith(end)]
    if not ends:
        return None
    found = _MEMBERS[max(ends, key=len)]
    is_chat = endpoint.endswith("/chat/completions") and provider in _BOTH
    return found | {"max_completion_tokens"} if is_chat else found


def default_output(model: str) -> int:
    """Return how many tokens a model may put out if its call sets no limit."""
    name = model.rpartition("/")[2]
    return next((most for start, most in _OUTPUTS if name.startswith(start)), DEFAULT_OUTPUT)
