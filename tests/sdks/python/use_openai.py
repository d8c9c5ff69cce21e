"""OpenAI's SDK for Python, majors 1, 2 and 3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai

import keybroker
from tests.sdks.python import steps

MODEL, HELLO = steps.MODELS["openai"], steps.HELLO


def fixed(base_url: str, token: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key=token)


def refreshed(base_url: str) -> openai.OpenAI:
    provider = keybroker.TokenProvider("openai", base_url=base_url)
    return openai.OpenAI(base_url=provider.base_url, api_key=provider)


def bare() -> openai.OpenAI:
    return openai.OpenAI()


def plain(client: Any) -> str:  # noqa: ANN401  of three majors
    done = client.chat.completions.create(model=MODEL, messages=HELLO)
    return done.choices[0].message.content or ""


def streamed(client: Any) -> Iterator[str]:  # noqa: ANN401  as above
    for event in client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=steps.WORDS, stream=True):
        yield event.choices[0].delta.content or ""


steps.run(openai.__version__, {"fixed": fixed, "refreshed": refreshed, "bare": bare}, plain, streamed)
