"""Google's SDK for the Gemini API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google import genai  # type: ignore[import-untyped, unused-ignore]  # in an environment of its own, and known by its neighbours or not
from google.genai import types  # type: ignore[import-untyped]  # as above

import keybroker
from tests.sdks.python import steps

MODEL = steps.MODELS["gemini"]


def fixed(base_url: str, token: str) -> Any:  # noqa: ANN401  untyped here
    return genai.Client(api_key=token, http_options=types.HttpOptions(base_url=base_url))


def refreshed(base_url: str) -> Any:  # noqa: ANN401  as above
    provider = keybroker.TokenProvider("gemini", base_url=base_url)
    options = types.HttpOptions(base_url=provider.base_url, client_args={"auth": provider.httpx2_auth()})
    return genai.Client(api_key="from-keybroker", http_options=options)


def bare() -> Any:  # noqa: ANN401  as above
    return genai.Client()


def plain(client: Any) -> str:  # noqa: ANN401  as above
    return client.models.generate_content(model=MODEL, contents="hello").text or ""


def streamed(client: Any) -> Iterator[str]:  # noqa: ANN401  as above
    config = types.GenerateContentConfig(max_output_tokens=steps.WORDS)
    for event in client.models.generate_content_stream(model=MODEL, contents="hello", config=config):
        yield event.text or ""


steps.run(genai.__version__, {"fixed": fixed, "refreshed": refreshed, "bare": bare}, plain, streamed)
