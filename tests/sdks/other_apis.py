"""Gemini's and Cohere's APIs to practise on, as far as their SDKs read them: one chat answer, whole or as a stream.

The practice provider of `local/` speaks OpenAI's API, which is Mistral's too, and Anthropic's. Source of the forms:
https://ai.google.dev/api/generate-content and https://docs.cohere.com/reference/chat, and what the SDKs parse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from local.practice.completions import SENTENCE

KEYS = {"gemini": "practice-real-gemini", "cohere": "practice-real-cohere"}
_LIMIT = 1024 * 1024


def make_apis() -> web.Application:
    """Return both APIs, each of which takes its own key and no other."""
    app = web.Application(client_max_size=_LIMIT)
    for version in ("v1", "v1beta"):
        app.router.add_post(f"/{version}/models/{{model}}", _gemini)
    app.router.add_post("/v2/chat", _cohere)
    return app


async def _gemini(request: web.Request) -> web.StreamResponse:
    if request.headers.get("x-goog-api-key") != KEYS["gemini"]:
        error = {"code": 401, "message": "API key not valid.", "status": "UNAUTHENTICATED"}
        return web.json_response({"error": error}, status=401)
    asked = await request.json()
    _, _, method = request.match_info["model"].partition(":")
    if method != "streamGenerateContent":
        return web.json_response(_candidate(SENTENCE, ends=True))
    config = asked.get("generationConfig", {})
    words = _words(config.get("maxOutputTokens") or config.get("max_output_tokens"))  # protobuf's JSON takes both
    pieces = [_candidate(word, ends=number == len(words)) for number, word in enumerate(words, 1)]
    return await _events(request, (f"data: {json.dumps(piece)}\r\n\r\n" for piece in pieces))


def _candidate(text: str, *, ends: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if ends:
        candidate["finishReason"] = "STOP"
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "practice", "responseId": "practice"}


async def _cohere(request: web.Request) -> web.StreamResponse:
    if request.headers.get("authorization") != f"Bearer {KEYS['cohere']}":
        return web.json_response({"message": "invalid api token", "id": "practice"}, status=401)
    asked = await request.json()
    if not asked.get("stream"):
        message = {"role": "assistant", "content": [{"type": "text", "text": SENTENCE}]}
        return web.json_response({"id": "practice", "finish_reason": "COMPLETE", "message": message, "usage": {}})
    return await _events(request, _cohere_events(_words(asked.get("max_tokens"))))


def _cohere_events(words: list[str]) -> Iterator[str]:
    def event(kind: str, **more: object) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n"

    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield event("message-start", id="practice", delta={"message": empty})
    yield event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}})
    for word in words:
        yield event("content-delta", index=0, delta={"message": {"content": {"text": word}}})
    yield event("content-end", index=0)
    yield event("message-end", id="practice", delta={"finish_reason": "COMPLETE", "usage": {}})


def _words(limit: int | None) -> list[str]:
    first, *more = SENTENCE.split()[:limit]
    return [first, *(f" {word}" for word in more)]


async def _events(request: web.Request, events: Iterator[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(event.encode())
    return response
