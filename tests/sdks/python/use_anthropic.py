"""Anthropic's SDK for Python, majors 0, 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic

import keybroker
from tests.sdks.python import steps

MODEL, HELLO = steps.MODELS["anthropic"], steps.HELLO


def fixed(base_url: str, token: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=base_url, api_key=token)


def refreshed(base_url: str) -> anthropic.Anthropic:
    provider = keybroker.TokenProvider("anthropic", base_url=base_url)
    return anthropic.Anthropic(base_url=provider.base_url, credentials=provider.anthropic())


def bare() -> anthropic.Anthropic:
    return anthropic.Anthropic()


def plain(client: Any) -> str:  # noqa: ANN401  of three majors
    message = client.messages.create(model=MODEL, max_tokens=64, messages=HELLO)
    return str(message.content[0].text)


def streamed(client: Any) -> Iterator[str]:  # noqa: ANN401  as above
    with client.messages.stream(model=MODEL, max_tokens=steps.WORDS, messages=HELLO) as stream:
        yield from stream.text_stream


steps.run(anthropic.__version__, {"fixed": fixed, "refreshed": refreshed, "bare": bare}, plain, streamed)
