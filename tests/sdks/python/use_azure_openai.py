"""OpenAI's SDK for Python as a client of Azure's API, which names the model in the path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai

import keybroker
from tests.sdks.python import steps

MODEL, HELLO = steps.MODELS["openai"], steps.HELLO
VERSION = "2025-01-01-preview"


def fixed(base_url: str, token: str) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(azure_endpoint=base_url, api_key=token, api_version=VERSION)


def refreshed(base_url: str) -> openai.AzureOpenAI:
    provider = keybroker.TokenProvider("azure-openai", base_url=base_url)
    url = provider.base_url
    return openai.AzureOpenAI(azure_endpoint=url, azure_ad_token_provider=provider, api_version=VERSION)


def bare() -> openai.AzureOpenAI:
    return openai.AzureOpenAI(api_version=VERSION)


def plain(client: Any) -> str:  # noqa: ANN401  as OpenAI's
    done = client.chat.completions.create(model=MODEL, messages=HELLO)
    return done.choices[0].message.content or ""


def streamed(client: Any) -> Iterator[str]:  # noqa: ANN401  as above
    for event in client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=steps.WORDS, stream=True):
        yield event.choices[0].delta.content or ""


steps.run(openai.__version__, {"fixed": fixed, "refreshed": refreshed, "bare": bare}, plain, streamed)
