"""Anthropic's API as the practice provider speaks it: messages, models and refusals."""

from collections.abc import Iterator

from local.practice.completions import Answer, Json, ServerEvent, server_event

MODELS = {"claude-opus-4-6": "Claude Opus 4.6", "claude-sonnet-4-6": "Claude Sonnet 4.6"}
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}


def refusal(status: int, message: str, request_id: str) -> Json:
    """Compose the body of an error of this HTTP status."""
    kind = _KINDS.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def model_list() -> Json:
    """Compose the answer to `GET /v1/models`: everything on one page."""
    names = list(MODELS)
    return {"data": [model(name) for name in names], "has_more": False, "first_id": names[0], "last_id": names[-1]}


def model(name: str) -> Json | None:
    """Compose the answer to `GET /v1/models/{name}`, or None if there is no such model."""
    if name not in MODELS:
        return None
    created = "2026-02-05T00:00:00Z"
    return {
        "type": "model",
        "id": name,
        "display_name": MODELS[name],
        "created_at": created,
        "lifecycle": "active",
    }


def message(answer: Answer) -> Json:
    """Compose the answer to `POST /v1/messages`."""
    content: Json = {"type": "text", "text": answer.text, "citations": None}
    return _message_shell(answer) | {
        "content": [content],
        **_ending(answer),
        "usage": _usage(answer, len(answer.words)),
    }


def message_events(answer: Answer) -> Iterator[ServerEvent]:
    """Compose the stream of `POST /v1/messages`: one block of text, a word at a time, between Anthropic's brackets."""

    def step(name: str, **fields: object) -> ServerEvent:
        return server_event({"type": name, **fields}, name=name, is_word=name == "content_block_delta")

    start = _message_shell(answer) | {"content": [], "stop_reason": None, "stop_sequence": None}
    yield step("message_start", message=start | {"usage": _usage(answer, 1)})
    yield step("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield step("ping")
    for word in answer.words:
        yield step("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield step("content_block_stop", index=0)
    yield step("message_delta", delta=_ending(answer), usage={"output_tokens": len(answer.words)})
    yield step("message_stop")


def _message_shell(answer: Answer) -> Json:
    return {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "model": answer.model}


def _ending(answer: Answer) -> Json:
    return {"stop_reason": "max_tokens" if answer.is_cut else "end_turn", "stop_sequence": None}


def _usage(answer: Answer, output_tokens: int) -> Json:
    return {
        "input_tokens": answer.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }
