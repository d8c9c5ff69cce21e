"""Cohere's SDK."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any

import cohere  # type: ignore[import-not-found]  # in an environment of its own

import keybroker
from tests.sdks.python import steps

MODEL, HELLO = steps.MODELS["cohere"], steps.HELLO


def fixed(base_url: str, token: str) -> Any:  # noqa: ANN401  untyped here
    return cohere.ClientV2(base_url=base_url, api_key=token)


def refreshed(base_url: str) -> Any:  # noqa: ANN401  as above
    provider = keybroker.TokenProvider("cohere", base_url=base_url)
    return cohere.ClientV2(base_url=provider.base_url, api_key=provider)


def bare() -> Any:  # noqa: ANN401  as above
    return cohere.ClientV2()


def plain(client: Any) -> str:  # noqa: ANN401  as above
    return client.chat(model=MODEL, messages=HELLO).message.content[0].text or ""


def streamed(client: Any) -> Iterator[str]:  # noqa: ANN401  as above
    for event in client.chat_stream(model=MODEL, messages=HELLO, max_tokens=steps.WORDS):
        if event.type == "content-delta":
            yield event.delta.message.content.text or ""


steps.run(importlib.metadata.version("cohere"), {"fixed": fixed, "refreshed": refreshed, "bare": bare}, plain, streamed)
