"""LangChain's chat model over OpenAI's SDK."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any

from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]  # in an environment of its own

import keybroker
from tests.sdks.python import steps

MODEL = steps.MODELS["openai"]


def fixed(base_url: str, token: str) -> Any:  # noqa: ANN401  untyped here
    return ChatOpenAI(model=MODEL, base_url=base_url, api_key=token)


def refreshed(base_url: str) -> Any:  # noqa: ANN401  as above
    provider = keybroker.TokenProvider("openai", base_url=base_url)
    return ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key=provider)


def bare() -> Any:  # noqa: ANN401  as above
    return ChatOpenAI(model=MODEL)


def plain(client: Any) -> str:  # noqa: ANN401  as above
    return str(client.invoke("hello").content)


def streamed(client: Any) -> Iterator[str]:  # noqa: ANN401  as above
    for event in client.stream("hello", max_tokens=steps.WORDS):
        yield str(event.content)


steps.run(
    importlib.metadata.version("langchain-openai"),
    {"fixed": fixed, "refreshed": refreshed, "bare": bare},
    plain,
    streamed,
)
