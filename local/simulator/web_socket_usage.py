"""What a provider says on a WebSocket of the tokens that its responses took: told response by response, while it is open."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from chalicelib.edge.call import Admitted
from chalicelib.providers import answer_usage
from chalicelib.providers.answer_usage import TokenUse
from local.simulator.answer_document import parsed, says_it
from local.simulator.message_reader import MessageReader

Note = Callable[[TokenUse | None], None]
"""Counts a response: what it took, None if that is not known."""

_BEGINS: Final = f'"{answer_usage.RESPONSE_BEGINS}"'.encode()
_ENDS: Final = frozenset({*answer_usage.RESPONSE_ENDS, answer_usage.TRANSCRIBED})
_TYPE: Final = re.compile(rb'"type"[ \t\r\n]*:[ \t\r\n]*"([a-z_.]{1,100})"')
_IN_QUERY: Final = ("model", "deployment")
"""Where a handshake's query names the model."""


class WebSocketUsage:
    """That of one WebSocket, within a `with` block while it is open."""

    def __init__(self, admitted: Admitted, extensions: str, note: Note) -> None:
        """extensions: as `MessageReader`."""
        self._provider, self._note = admitted.provider, note
        self._model = _in_query(admitted.query)
        self._is_first, self._begun, self._heard = True, 0, False
        self._reader = MessageReader(extensions, self._read)

    def __enter__(self) -> Callable[[bytes], None]:
        return self._feed

    def __exit__(self, *_raised: object) -> None:
        is_understood = self._reader.is_readable and answer_usage.has_events(self._provider)
        # What it took is unknown: what was not understood, and what was under way when one side hung up.
        if self._heard and (self._begun > 0 or not is_understood):
            self._note(None)

    def _feed(self, piece: bytes) -> None:
        self._heard = True
        if answer_usage.has_events(self._provider):
            self._reader.feed(piece)

    def _read(self, head: bytes, tail: bytes) -> None:
        if self._is_first:
            self._is_first = False
            self._model = _in_session(head, tail) or self._model
        if _BEGINS in head:
            self._begun += 1
        if says_it(tail) or says_it(head):
            self._read_end(head, tail)

    def _read_end(self, head: bytes, tail: bytes) -> None:
        if tail:
            kind = _TYPE.search(head)
            name: object = kind[1].decode() if kind else None
            found = list(parsed(head, tail, depth=1 if name == answer_usage.TRANSCRIBED else 2))
        else:
            found = [json.loads(head)]
            name = found[0].get("type") if isinstance(found[0], dict) else None
        if not isinstance(name, str) or name not in _ENDS:
            return
        if name in answer_usage.RESPONSE_ENDS:
            self._begun -= 1
            found.append({"model": self._model})
        self._note(answer_usage.read(self._provider, found))


def _in_query(query: str) -> str:
    named = dict(parse_qsl(query, errors="replace"))
    return next((answer_usage.named_model([{"model": named[one]}]) for one in _IN_QUERY if one in named), "")


def _in_session(head: bytes, tail: bytes) -> str:
    """Return the model that the first message has for the session, "" if it has none."""
    return "" if tail else answer_usage.named_model([json.loads(head)])
