"""Heads of calls that were admitted, byte for byte but for the length of the body: a client sends the same with every call.

Nothing is read anew here: a head is known if a parser has found the very same lines before. What was made of it then is
taken again, as far as that follows from it (chalicelib/edge/known_calls.py).
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from chalicelib.edge.door import Request
from chalicelib.models.body import CallBody
from local.simulator.function_result import OriginRequest
from local.simulator.origin_exchange import HeadForm

MOST: Final = 1_024
"""Heads at most; the one that was added first is dropped first."""
MOST_SEEN: Final = 4 * MOST
"""Heads of which it is remembered that they came."""
MOST_BYTES: Final = 8_192
"""Of a head; a longer one is not remembered. It leaves room for a longer length within the limits of a head."""
MOST_DIGITS: Final = 20
"""Of a length that does not count; with zeros before it, one can be longer than any head may be."""
_LENGTHS: Final = (b"Content-Length", b"content-length")
"""The header of a length, whose value does not count, as it is mostly spelled: in other spellings it counts, too."""
Words = tuple[str, str, str | None, tuple[tuple[bytes, bytes], ...]]
"""Method, target, address and lines."""


class KnownHead:
    """One of them. asked: what reached the edge of the request, without its body. shown: its body, without what is in it."""

    __slots__ = ("_form", "asked", "shown")

    def __init__(self, asked: Request, shown: CallBody) -> None:
        self.asked, self.shown = asked, shown
        self._form: tuple[OriginRequest, HeadForm] | None = None

    def asked_with(self, body: bytearray | None) -> Request:
        """Return the request with a body that is there whole; None: the edge is shown none."""
        shown = self.shown
        types, encodings, names = shown.content_types, shown.content_encodings, shown.header_names
        truncated = shown.truncated if body is None else False
        whole = CallBody(None, truncated, types, encodings, names, is_outline=False, fault="", received=body)
        method, path, query, headers, source_ip, _, known = self.asked
        return Request(method, path, query, headers, source_ip, whole, known)

    def form(self, origin_request: OriginRequest, method: str) -> HeadForm:
        """Return the form of the head in which an origin is sent such a request."""
        form = self._form
        if form is None or form[0] is not origin_request:
            form = self._form = origin_request, HeadForm.of(method, origin_request)
        return form[1]


class KnownHeads:
    """Those of one distribution; only for its event loop."""

    def __init__(self) -> None:
        self._known: dict[Words, KnownHead] = {}
        self._seen: dict[int, None] = {}  # hashes of those that came once, the one that was added first comes first

    def find(self, words: Words) -> KnownHead | None:
        """Return a head that is known."""
        return self._known.get(words)

    def add(self, words: Words, head: KnownHead) -> None:
        """Remember the head of a call that was admitted, if it has come before: many come once, with an id of their own."""
        said = hash(words)
        if said not in self._seen:
            self._seen[said] = None
            if len(self._seen) > MOST_SEEN:
                del self._seen[next(iter(self._seen))]
            return
        lines = words[-1]
        if sum(len(line) for pair in lines for line in pair) > MOST_BYTES:
            return
        self._known[words] = head
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]


def words(request: web.BaseRequest) -> Words:
    """Return what a head consists of, but for its version and the length of the body."""
    # SECURITY: all lines, in their order, and where the request came from (test_a_head_is_known_by_all_of_it).
    lines, length = request.raw_headers, request.headers.get(hdrs.CONTENT_LENGTH)
    if length is not None and length.isascii() and len(length) <= MOST_DIGITS:
        for name in _LENGTHS:
            try:
                place = lines.index((name, length.encode()))
            except ValueError:
                continue
            lines = (*lines[:place], (name, b""), *lines[place + 1 :])
            break
    return request.method, request.raw_path, request.remote, lines
