"""The environment variables that make an unmodified SDK use a token and the edge.

Source: what the SDKs read, measured in 2026 (docs/clients.md lists the versions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables of one SDK or tool.

    key: holds the token.
    url: holds the edge's URL.
    unset: variables that would override these.
    ours: true if `url` is our own name, which the SDK does not read: the program must pass the URL on by itself.
    also: further names for the URL, read by programs that would otherwise send our token to the provider itself.
    """

    key: str
    url: str
    unset: tuple[str, ...] = ()
    ours: bool = False
    also: tuple[str, ...] = ()

    def assignments(self, key: str, url: str) -> dict[str, str]:
        """Return the variables with their values."""
        return {self.key: key, **dict.fromkeys((self.url, *self.also), url)}


_ANTHROPIC = ("ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_PROFILE")
KNOWN: Mapping[str, Variables] = {
    "openai": Variables(
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        # LangChain's own name for the base URL, headers that would replace ours, and names of other accounts.
        ("OPENAI_API_BASE", "OPENAI_CUSTOM_HEADERS", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"),
    ),
    "anthropic": Variables("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ("ANTHROPIC_AUTH_TOKEN", *_ANTHROPIC)),
    "claude-code": Variables("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", ("ANTHROPIC_API_KEY", *_ANTHROPIC)),
    "gemini": Variables(
        "GEMINI_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        ("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"),
        also=("GEMINI_API_BASE",),  # LiteLLM's
    ),
    "mistral": Variables("MISTRAL_API_KEY", "MISTRAL_BASE_URL", ours=True),
    "cohere": Variables("CO_API_KEY", "CO_API_URL", ("COHERE_API_KEY",)),
    "groq": Variables("GROQ_API_KEY", "GROQ_BASE_URL"),
}
"""By the name that `--for` takes, which is usually also the key's name."""


def variables_for(name: str) -> Variables:
    """Return an SDK's variables; for an unknown name, `NAME_API_KEY` and `NAME_BASE_URL`."""
    if name in KNOWN:
        return KNOWN[name]
    stem = "".join(char if char.isascii() and char.isalnum() else "_" for char in name.upper())
    return Variables(f"{stem}_API_KEY", f"{stem}_BASE_URL", ours=True)


def child_environ(parent: Mapping[str, str], given: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return a child's environment. given: SDK -> key and base URL. Variables that would override them are left out."""
    by_name = {name: (variables_for(name), pair) for name, pair in given.items()}
    dropped = {name for variables, _ in by_name.values() for name in variables.unset}
    environ = {name: value for name, value in parent.items() if name not in dropped}
    for variables, (key, url) in by_name.values():
        environ |= variables.assignments(key, url)
    return environ


def without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which loopback is reached directly, even if a proxy is set."""
    current = {name: environ.get(name, "") for name in ("NO_PROXY", "no_proxy")}
    added = {name: f"{value},127.0.0.1" if value else "127.0.0.1" for name, value in current.items()}
    return {**environ, **added}
