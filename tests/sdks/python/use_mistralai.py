"""Mistral's SDK."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from typing import Any

from mistralai.client import Mistral  # type: ignore[import-not-found]  # in an environment of its own

import keybroker
from tests.sdks.python import steps

MODEL, HELLO = steps.MODELS["mistral"], steps.HELLO


def fixed(base_url: str, token: str) -> Any:  # noqa: ANN401  untyped here
    return Mistral(server_url=base_url, api_key=token)


def refreshed(base_url: str) -> Any:  # noqa: ANN401  as above
    provider = keybroker.TokenProvider("mistral", base_url=base_url)
    return Mistral(server_url=provider.base_url, api_key=provider)


def bare() -> Any:  # noqa: ANN401  as above
    return Mistral(server_url=os.environ["MISTRAL_BASE_URL"])


def plain(client: Any) -> str:  # noqa: ANN401  as above
    return client.chat.complete(model=MODEL, messages=HELLO).choices[0].message.content or ""


def streamed(client: Any) -> Iterator[str]:  # noqa: ANN401  as above
    with client.chat.stream(model=MODEL, messages=HELLO, max_tokens=steps.WORDS) as events:
        for event in events:
            yield event.data.choices[0].delta.content or ""


steps.run(
    importlib.metadata.version("mistralai"), {"fixed": fixed, "refreshed": refreshed, "bare": bare}, plain, streamed
)
