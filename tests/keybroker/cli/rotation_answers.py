"""What the broker answers about a key that is being replaced, for tests over a server that answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping

Json = dict[str, object]


def rotation(step: str, problem: str | None = None, **more: object) -> Json:
    """Return a rotation under way."""
    fixed = {"id": "r1", "author": "ada", "started": 1_795_000_000, "overlap": 3600, "leaked": False}
    ends = 4_000_000_000 if step == "overlap" else None
    return {**fixed, "step": step, "ends": ends, "problem": problem, "deletes": "key_1", **more}


def state(version: str, under_way: Json | None) -> Json:
    """Return what a rotation's request answers."""
    fixed: Json = {"name": "openai", "version": version, "rotates": "by_api", "management": None}
    return {**fixed, "before": {"version": "v0", "at": 1_795_000_000}, "rotation": under_way}


def item(version: str, under_way: Json | None = None, **more: object) -> Json:
    """Return the key as the list has it."""
    about = {"provider": "openai", "origin": "https://api.openai.com", "header": "authorization", "author": "ada"}
    times = {"at": 1_795_000_000, "last_used": None, "rotate_after": None, "due": None}
    return {**state(version, under_way), **about, **times, **more}


def listed(*items: Json) -> list[bytes]:
    """Return the answer to `GET /admin/keys`."""
    return answer(200, {"items": items, "next": None, "complete": True})


def answer(status: int, body: Mapping[str, object]) -> list[bytes]:
    """Return an answer of these bytes."""
    text = json.dumps(body)
    return [f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode()]
