"""Reads what a JSON document says of usage: a short one whole, and of a longer one its beginning and its end."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Final

from chalicelib.providers import answer_usage
from chalicelib.providers.answer_usage import TokenUse
from local.simulator import usual_answers
from local.simulator.answer_decoders import Unreadable

WHOLE: Final = 64 * 1024
"""Bytes of JSON that are read whole; of a longer answer its beginning and its end, so many bytes each, are looked through."""
MEMBERS: Final = 100
"""Of one answer that speak of usage."""
SAYS_IT: Final = re.compile(rb'"usage(?:Metadata)?"[ \t\r\n]*:[ \t\r\n]*(?=\{)')
"""It begins with plain text, which is found without a look at every quote."""
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NAMES_MODEL: Final = re.compile(rb'"(model|modelVersion)"[ \t\r\n]*:[ \t\r\n]*"([^"\\]{1,100})"')
_DECODER: Final = json.JSONDecoder()


class Document:
    """A JSON document, or a list of them: its beginning and, of a long one, its end. tail: that, and what was before it."""

    __slots__ = ("_head", "tail")
    is_begun = False

    def __init__(self) -> None:
        self._head, self.tail = bytearray(), bytearray()

    def feed(self, piece: bytes) -> None:
        """Look at the next piece."""
        room = WHOLE - len(self._head)
        if room:
            self._head += piece[:room]
            piece = piece[room:]
        if piece:
            self.tail += piece
            # SECURITY: once for so many bytes, and not with each piece (test_a_long_document_in_small_pieces_is_cheap).
            if len(self.tail) > 2 * WHOLE:
                del self.tail[:-WHOLE]

    def ends(self) -> tuple[bytes, bytes]:
        """Return its beginning, which is all of it unless there is more, and its end."""
        return bytes(self._head), bytes(self.tail[-WHOLE:])

    def use(self, provider: str, *, is_whole: bool) -> TokenUse | None:
        """See `AnswerReader.use`; raises what is wrong with it."""
        head, tail = self.ends()
        use = usual_answers.read(provider, head) if is_whole and not tail else None
        return use or answer_usage.read(provider, list(parsed(head, tail, is_whole=is_whole)))


def says_it(part: bytes) -> bool:
    """Whether a part of a document speaks of usage."""
    return SAYS_IT.search(part) is not None


def parsed(head: bytes, tail: bytes = b"", *, depth: int = 1, is_whole: bool = True) -> Iterator[object]:
    """Return what JSON says, or a list of JSON, as far as it matters.

    tail: the end of one that is longer than its head. depth: how deep in it usage is. is_whole: whether it came to its end.
    """
    if head.lstrip()[:1] == b"[":
        depth += 1
    part = tail or head
    found = _before_end(part, depth) if is_whole else None
    if found is None and (tail or not is_whole):
        part, found = head, _behind_beginning(head, depth)
    if found is not None:
        # Only what is wanted is read: all of an answer would take several times as long.
        if model := _NAMES_MODEL.search(head):
            yield {model[1].decode(): model[2].decode("utf-8", "replace")}
        yield _member(part, found)
    elif not tail and is_whole:
        whole = json.loads(head.decode())
        yield from whole if isinstance(whole, list) else [whole]


# SECURITY: an answer repeats parts of its call, such as the form of a tool, in which its caller may have a member `usage`;
# only where the provider has its own it counts (test_what_a_caller_put_in_is_no_usage). Within a string each quote has a
# backslash before it, so that no text can pass for a member.


def _behind_beginning(part: bytes, depth: int) -> re.Match[bytes] | None:
    """Return the last member that speaks of usage and is so deep in a document that begins so; None if there is none."""
    at, above, chosen = 0, 0, None
    for found in _members(part):
        above += _opened(part[at : found.start()])
        at = found.start()
        chosen = found if above == depth else chosen
    return chosen


def _before_end(part: bytes, depth: int) -> re.Match[bytes] | None:
    """Return the same of a document that ends so."""
    end, above = len(part), 0
    for found in reversed(_members(part)):
        above -= _opened(part[found.start() : end])
        end = found.start()
        if above == depth:
            return found
    return None


def _members(part: bytes) -> list[re.Match[bytes]]:
    found = list(itertools.islice(SAYS_IT.finditer(part), MEMBERS + 1))
    if len(found) > MEMBERS:
        raise Unreadable
    return found


def _opened(part: bytes) -> int:
    """Return how many objects and lists a part opens beyond those that it closes; it begins and ends outside of strings."""
    plain = _STRING.sub(b"", part)
    return plain.count(b"{") + plain.count(b"[") - plain.count(b"}") - plain.count(b"]")


def _member(part: bytes, found: re.Match[bytes]) -> dict[str, object]:
    name = found[0].split(b'"')[1].decode()
    value, _ = _DECODER.raw_decode(part[found.end() :].decode("utf-8", "replace"))
    return {name: value}
