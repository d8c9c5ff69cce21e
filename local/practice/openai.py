"""OpenAI's API as far as the practice provider has it: completions, responses, embeddings, models and errors."""

import base64
import struct
from collections.abc import Iterator, Mapping

from local.practice.completions import Completion, InvalidBodyError, Json, ServerEvent, server_event

MODELS = ("gpt-5", "gpt-5-mini", "text-embedding-3-small", "text-embedding-3-large")
_CREATED = 1_754_500_000  # when the models came out, in Unix seconds; any constant would do
_MAX_INPUTS = 2048
_MAX_DIMENSIONS = 3072
_ERRORS = {401: ("invalid_request_error", "invalid_api_key"), 404: ("invalid_request_error", "model_not_found")}


def error_body(status: int, message: str, request_id: str) -> Json:
    """Return the body of an error with this HTTP status; OpenAI puts the request's id in the headers only."""
    del request_id
    kind, code = _ERRORS.get(status, ("invalid_request_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def model_list() -> Json:
    """Return the response to `GET /v1/models`."""
    return {"object": "list", "data": [model(name) for name in MODELS]}


def model(name: str) -> Json | None:
    """Return the response to `GET /v1/models/{name}`, or None if there is no such model."""
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "openai"} if name in MODELS else None


def embeddings(body: Mapping[str, object]) -> Json:
    """Return the response to `POST /v1/embeddings`: for each input the same vector of length 1.

    Raises `InvalidBodyError` if the model, the inputs or the dimensions are not what the API accepts.
    """
    name, given, dimensions = body.get("model"), body.get("input"), body.get("dimensions", 1536)
    if not isinstance(name, str) or not name:
        raise InvalidBodyError("model: a name is required")
    if not isinstance(given, str | list) or not given:
        raise InvalidBodyError("input: a text, or a list of texts or tokens, is required")
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise InvalidBodyError(f"dimensions: a whole number from 1 to {_MAX_DIMENSIONS} is required")
    # A bare text and a bare list of token numbers are one input each.
    count = 1 if isinstance(given, str) or isinstance(given[0], int) else len(given)
    if count > _MAX_INPUTS:
        raise InvalidBodyError(f"input: at most {_MAX_INPUTS} inputs are accepted")
    vector: list[float] | str = [dimensions**-0.5] * dimensions
    if body.get("encoding_format") == "base64":  # what the Python SDK asks for unless told otherwise
        vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    return {"object": "list", "model": name, "data": data, "usage": {"prompt_tokens": count, "total_tokens": count}}


def chat(completion: Completion) -> Json:
    """Return the response to `POST /v1/chat/completions`."""
    message: Json = {"role": "assistant", "content": completion.text, "refusal": None, "annotations": []}
    choice: Json = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(completion)}
    return _chat_shell(completion, "chat.completion") | {"choices": [choice], "usage": _chat_usage(completion)}


def chat_events(completion: Completion) -> Iterator[ServerEvent]:
    """Return the stream of `POST /v1/chat/completions`: role, words, the reason of the end, usage if asked for."""
    shell = _chat_shell(completion, "chat.completion.chunk")

    def chunk(delta: Json, finish_reason: str | None = None, *, is_word: bool = False) -> ServerEvent:
        choice: Json = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return server_event(shell | {"choices": [choice]}, is_word=is_word)

    yield chunk({"role": "assistant", "content": ""})
    for word in completion.words:
        yield chunk({"content": word}, is_word=True)
    yield chunk({}, _finish_reason(completion))
    if completion.reports_usage:
        yield server_event(shell | {"choices": [], "usage": _chat_usage(completion)})
    yield ServerEvent(b"data: [DONE]\n\n")


def response(completion: Completion) -> Json:
    """Return the response to `POST /v1/responses`."""
    status = "incomplete" if completion.is_cut else "completed"
    usage: Json = {
        "input_tokens": completion.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": len(completion.words),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": completion.prompt_tokens + len(completion.words),
    }
    return _response_shell(completion, status) | {"output": [_output_message(completion, status)], "usage": usage}


def response_events(completion: Completion) -> Iterator[ServerEvent]:
    """Return the stream of `POST /v1/responses`, numbered from 0, in the order in which OpenAI sends its events."""
    for number, (name, fields) in enumerate(_response_steps(completion)):
        data: Json = {"type": name, "sequence_number": number, **fields}
        yield server_event(data, name=name, is_word=name.endswith(".delta"))


def _response_steps(completion: Completion) -> Iterator[tuple[str, Json]]:
    finished = response(completion)
    item_id = f"msg_{completion.id}"
    item: Json = {"output_index": 0}
    part: Json = {"item_id": item_id, "output_index": 0, "content_index": 0}
    empty: Json = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    yield "response.created", {"response": _response_shell(completion, "in_progress")}
    yield "response.in_progress", {"response": _response_shell(completion, "in_progress")}
    yield "response.output_item.added", item | {"item": empty}
    yield "response.content_part.added", part | {"part": _output_text("")}
    for word in completion.words:
        yield "response.output_text.delta", part | {"delta": word, "logprobs": []}
    yield "response.output_text.done", part | {"text": completion.text, "logprobs": []}
    yield "response.content_part.done", part | {"part": _output_text(completion.text)}
    yield "response.output_item.done", item | {"item": _output_message(completion, str(finished["status"]))}
    yield f"response.{finished['status']}", {"response": finished}


def _response_shell(completion: Completion, status: str) -> Json:
    return {
        "id": f"resp_{completion.id}",
        "object": "response",
        "created_at": completion.created,
        "status": status,
        "model": completion.model,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def _output_message(completion: Completion, status: str) -> Json:
    content = [_output_text(completion.text)]
    return {"id": f"msg_{completion.id}", "type": "message", "role": "assistant", "status": status, "content": content}


def _output_text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _chat_shell(completion: Completion, kind: str) -> Json:
    return {"id": f"chatcmpl-{completion.id}", "object": kind, "created": completion.created, "model": completion.model}


def _chat_usage(completion: Completion) -> Json:
    words = len(completion.words)
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": words,
        "total_tokens": completion.prompt_tokens + words,
    }


def _finish_reason(completion: Completion) -> str:
    return "length" if completion.is_cut else "stop"
