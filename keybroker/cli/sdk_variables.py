"""Which environment variables make an SDK, unmodified, use a token and the edge.

Where it is from: what the SDKs read, measured in 2026 (docs/clients.md shows with which versions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variables:
    """Of one SDK or tool. key: holds the token. url: the edge's address, "" if it reads none. unset: those that would win.

    ours: true if `url` is a name of ours that the SDK does not read: the program has to pass it on by itself. also: other
    names for the address, of programs that would call the provider itself with our token if they were not set.
    """

    key: str
    url: str
    unset: tuple[str, ...] = ()
    ours: bool = False
    also: tuple[str, ...] = ()

    def set_to(self, key: str, url: str) -> dict[str, str]:
        """Return all variables with what they are set to."""
        return {self.key: key, **dict.fromkeys((self.url, *self.also), url)}


_ANTHROPIC = ("ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_PROFILE")
KNOWN: Mapping[str, Variables] = {
    "openai": Variables(
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        # LangChain's own name for the base URL, headers that would replace ours, and what names another's account.
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
"""By the name that `--for` takes, which is also the usual name of the key."""


def of(name: str) -> Variables:
    """Return an SDK's variables; for a name that is not known, `NAME_API_KEY` and `NAME_BASE_URL`."""
    if name in KNOWN:
        return KNOWN[name]
    stem = "".join(one if one.isascii() and one.isalnum() else "_" for one in name.upper())
    return Variables(f"{stem}_API_KEY", f"{stem}_BASE_URL", ours=True)


def child(parent: Mapping[str, str], given: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return a child's environment. given: SDK -> key and base URL. What would win over them is left out."""
    made = {name: (of(name), pair) for name, pair in given.items()}
    dropped = {one for variables, _ in made.values() for one in variables.unset}
    environ = {name: value for name, value in parent.items() if name not in dropped}
    for variables, (key, url) in made.values():
        environ |= variables.set_to(key, url)
    return environ


def without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which this machine's own address is reached directly, whatever proxy is set."""
    named = {name: environ.get(name, "") for name in ("NO_PROXY", "no_proxy")}
    added = {name: f"{value},127.0.0.1" if value else "127.0.0.1" for name, value in named.items()}
    return {**environ, **added}
