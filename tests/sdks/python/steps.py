"""The loop of a client's process: one JSON line in says what to do, one JSON line out says what its user sees.

In: `{"step": "plain" | "streamed", "client": …}` with one of
  "fixed"      and "base_url", "token": a client that is given a token
  "refreshed"  and "base_url": one that gets its own, and another before it ends
  "bare"       and perhaps "environment", variables to set: one that is told nothing
and perhaps "number". A client object is made once for each such description and kept, as a program keeps it.
Out, first of all: `{"version": …}`; then `{"text": …, "pieces": N}`, or `{"error": "Kind: text"}`, what the last line of
a stack trace would say. It runs in the environment of a client, where of the project only `keybroker` is of use.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MODELS = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "cohere": "command-a-03-2025",
}
HELLO: Any = [{"role": "user", "content": "hello"}]
WORDS = 6
"""How many words a stream is asked for."""


def run(
    version: str,
    makers: Mapping[str, Callable[..., Any]],
    plain: Callable[[Any], str],
    streamed: Callable[[Any], Iterable[str]],
) -> None:
    """Answer lines until there are no more. makers: of clients, by their names above; plain, streamed: what each can do."""
    clients: dict[str, Any] = {}
    _say({"version": version})
    for line in sys.stdin:
        asked = json.loads(line)
        step = asked.pop("step")
        key = json.dumps(asked)
        try:
            if key not in clients:
                os.environ.update(asked.get("environment", {}))
                given = [asked[name] for name in ("base_url", "token") if name in asked]
                clients[key] = makers[asked["client"]](*given)
            one = clients[key]
            pieces = [plain(one)] if step == "plain" else [piece for piece in streamed(one) if piece]
        except Exception as fault:  # noqa: BLE001  whatever it is, it is what the user sees
            _say({"error": f"{type(fault).__name__}: {fault}"})
        else:
            _say({"text": "".join(pieces), "pieces": len(pieces)})


def _say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201  the protocol
