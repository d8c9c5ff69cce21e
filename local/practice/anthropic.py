"""Anthropic's API, as far as the practice provider has it: messages, models and errors."""

from collections.abc import Iterator

from local.practice.completions import Completion, Json, ServerEvent, server_event

MODELS = {"claude-opus-4-6": "Claude Opus 4.6", "claude-sonnet-4-6": "Claude Sonnet 4.6"}
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}


def error_body(status: int, message: str, request_id: str) -> Json:
    """Return the body of an error with this HTTP status."""
    kind = _KINDS.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def model_list() -> Json:
    """Return the response to `GET /v1/models`: all models on one page."""
    names = list(MODELS)
    return {"data": [model(name) for name in names], "has_more": False, "first_id": names[0], "last_id": names[-1]}


def model(name: str) -> Json | None:
    """Return the response to `GET /v1/models/{name}`, or None if there is no such model."""
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


def message(completion: Completion) -> Json:
    """Return the response to `POST /v1/messages`."""
    content: Json = {"type": "text", "text": completion.text, "citations": None}
    return _message_shell(completion) | {
        "content": [content],
        **_ending(completion),
        "usage": _usage(completion, len(completion.words)),
    }


def message_events(completion: Completion) -> Iterator[ServerEvent]:
    """Yield the event stream of `POST /v1/messages`: one content block of text, one word per event."""

    def step(name: str, **fields: object) -> ServerEvent:
        return server_event({"type": name, **fields}, name=name, is_word=name == "content_block_delta")

    start = _message_shell(completion) | {"content": [], "stop_reason": None, "stop_sequence": None}
    yield step("message_start", message=start | {"usage": _usage(completion, 1)})
    yield step("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield step("ping")
    for word in completion.words:
        yield step("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield step("content_block_stop", index=0)
    yield step("message_delta", delta=_ending(completion), usage={"output_tokens": len(completion.words)})
    yield step("message_stop")


def _message_shell(completion: Completion) -> Json:
    return {"id": f"msg_{completion.id}", "type": "message", "role": "assistant", "model": completion.model}


def _ending(completion: Completion) -> Json:
    return {"stop_reason": "max_tokens" if completion.is_cut else "end_turn", "stop_sequence": None}


def _usage(completion: Completion, output_tokens: int) -> Json:
    return {
        "input_tokens": completion.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }
