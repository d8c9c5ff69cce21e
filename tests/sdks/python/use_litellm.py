"""LiteLLM as a client of three providers: `python -m tests.sdks.python.use_litellm openai|anthropic|gemini`."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from typing import Any

import litellm  # type: ignore[import-not-found]  # in an environment of its own

from tests.sdks.python import steps

MODEL = f"{sys.argv[1]}/{steps.MODELS[sys.argv[1]]}"


def fixed(base_url: str, token: str) -> Any:  # noqa: ANN401  a function with its first arguments
    return functools.partial(litellm.completion, api_base=base_url, api_key=token, model=MODEL)


def bare() -> Any:  # noqa: ANN401  as above
    # It has a name of its own for Gemini's base URL, GEMINI_API_BASE.
    base_url = os.environ.get("GOOGLE_GEMINI_BASE_URL")
    return functools.partial(litellm.completion, api_base=base_url, model=MODEL)


def plain(complete: Any) -> str:  # noqa: ANN401  as above
    return complete(messages=steps.HELLO, max_tokens=64).choices[0].message.content or ""


def streamed(complete: Any) -> Iterator[str]:  # noqa: ANN401  as above
    for event in complete(messages=steps.HELLO, max_tokens=steps.WORDS, stream=True):
        yield event.choices[0].delta.content or ""


steps.run(importlib.metadata.version("litellm"), {"fixed": fixed, "bare": bare}, plain, streamed)
