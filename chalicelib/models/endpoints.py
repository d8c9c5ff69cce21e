"""Which endpoints a grant with `models` can open: those where `model` alone says which model runs, and where it is named.

What is not listed is closed to such grants: batches, files, assistants, threads, agents, fine-tuning, stored answers,
live sessions, and everything of a provider that is not here. Paths are in the provider's own form (providers/presets.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

JSON, FORM = "json", "form"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint that runs a model."""

    scope: str
    """`METHOD:/path`, with `{model}` where the path names the model."""
    bodies: tuple[str, ...] = (JSON,)
    """The kinds of body that it takes; empty if none."""
    refused: frozenset[str] = frozenset()
    """Members of the body, or `member=value`, that have it run another model."""
    prefix: str = ""
    """An optional prefix of a model's name in the body."""


_SVG = frozenset({"svg", "output_format=svg"})
"""SVG images are drawn by a model for text, which `model` does not name."""
_STORED_PROMPT = frozenset({"prompt"})
_LIKE_OPENAI = "chat/completions completions embeddings"


def _posts(base: str, names: str, *bodies: str, refused: frozenset[str] = frozenset()) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"POST:{base}/{name}", bodies or (JSON,), refused) for name in names.split())


def _listed(path: str) -> tuple[Endpoint, ...]:
    """The list of models, whose path names none, and a single model by its id."""
    return Endpoint(f"GET:{path}", ()), Endpoint(f"GET:{path}/{{model}}", ())


def _openai(base: str) -> tuple[Endpoint, ...]:
    return (
        *_posts(base, f"{_LIKE_OPENAI} audio/speech"),
        *_posts(base, "audio/transcriptions audio/translations", FORM),
        *_posts(base, "images/generations", refused=_SVG),
        *_posts(base, "images/edits", FORM, JSON, refused=_SVG),
    )


def _responses(base: str) -> tuple[Endpoint, ...]:
    return _posts(base, "responses responses/compact responses/input_tokens", refused=_STORED_PROMPT)


def _gemini(base: str) -> tuple[Endpoint, ...]:
    verbs = "generateContent streamGenerateContent countTokens embedContent batchEmbedContents"
    scopes = (f"POST:{base}/models/{{model}}:{verb}" for verb in verbs.split())
    return *(Endpoint(scope, prefix="models/") for scope in scopes), *_listed(f"{base}/models")


MODEL_ENDPOINTS: Mapping[str, tuple[Endpoint, ...]] = {
    "openai": (
        *_openai("/v1"),
        *_posts("/v1", "moderations decisions"),
        *_posts("/v1", "images/variations", FORM),
        *_responses("/v1"),
        *_listed("/v1/models"),
    ),
    "anthropic": (*_posts("/v1", "messages messages/count_tokens complete"), *_listed("/v1/models")),
    "gemini": (
        *_gemini("/v1beta"),
        *_gemini("/v1"),
        *_gemini("/v1alpha"),
        *(Endpoint(f"POST:/v1beta/openai/{name}", prefix="models/") for name in ("chat/completions", "embeddings")),
    ),
    "mistral": (
        *_posts("/v1", "chat/completions fim/completions embeddings moderations chat/moderations ocr"),
        *_posts("/v1", "audio/transcriptions", FORM),
        *_listed("/v1/models"),
    ),
    "cohere": (
        *_posts("/v2", "chat embed rerank"),
        *_posts("/compatibility/v1", "chat/completions embeddings"),
        *_listed("/v1/models"),
    ),
    "azure-openai": (
        *_openai("/openai/deployments/{model}"),
        *_openai("/openai/v1"),
        *_responses("/openai/v1"),
        *_responses("/openai"),
        *_listed("/openai/v1/models"),
        *_listed("/openai/models"),
    ),
    "groq": (
        *_posts("/openai/v1", f"{_LIKE_OPENAI} audio/speech"),
        *_posts("/openai/v1", "audio/transcriptions audio/translations", FORM),
        *_posts("/openai/v1", "responses", refused=_STORED_PROMPT),
        *_listed("/openai/v1/models"),
    ),
    "openrouter": (
        *_posts("/api/v1", f"{_LIKE_OPENAI} messages"),
        *_posts("/api/v1", "responses", refused=_STORED_PROMPT),
        *_listed("/api/v1/models"),
    ),
    "together": (
        *_posts("/v1", f"{_LIKE_OPENAI} rerank images/generations audio/speech"),
        *_posts("/v1", "audio/transcriptions audio/translations", FORM),
        *_listed("/v1/models"),
    ),
    "deepseek": (
        *_posts("", "chat/completions completions"),
        *_posts("/beta", "chat/completions completions"),
        *_posts("/anthropic/v1", "messages"),
        *_listed("/models"),
    ),
    "xai": (
        *_posts("/v1", f"{_LIKE_OPENAI} messages images/generations"),
        *_posts("/v1", "responses", refused=_STORED_PROMPT),
        *_listed("/v1/models"),
    ),
}
"""Provider -> its endpoints."""


def find(provider: str, scope: str) -> tuple[Endpoint, str | None] | None:
    """Return the endpoint of a call's `METHOD:/path`, and the model that its path names; None if it is none of these."""
    for endpoint, pattern in _patterns(provider):
        found = pattern.fullmatch(scope)
        if found:
            return endpoint, found["model"] if pattern.groups else None
    return None


@cache
def _patterns(provider: str) -> tuple[tuple[Endpoint, re.Pattern[str]], ...]:
    endpoints = MODEL_ENDPOINTS.get(provider, ())
    written = ((one, re.escape(one.scope).replace(r"\{model\}", "(?P<model>[^/]+)")) for one in endpoints)
    return tuple((one, re.compile(pattern)) for one, pattern in written)
