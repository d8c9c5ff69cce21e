"""The body of a call as CloudFront shows it (Include Body), with what the headers say of it.

CloudFront shows every body, up to 1 MiB of it. It is decoded only where a grant limits models. Of a longer one, one machine shows
the outline (outline.py) instead.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.models.errors import BodyCut, BodyNotJson, BodyNotShown, BodyTooMany


@dataclass(slots=True, repr=False, unsafe_hash=True)  # not frozen, which costs a call a microsecond; nobody changes it
class CallBody:
    """What the edge was shown of a call's body, and what the headers say of it."""

    encoded: str | None = None
    """The body in base64, None if it was not shown."""
    truncated: bool = True
    """Whether there is more of it than was shown."""
    content_types: tuple[str, ...] = ()
    """The values of `Content-Type`."""
    content_encodings: tuple[str, ...] = ()
    """The values of `Content-Encoding`."""
    header_names: tuple[str, ...] = ()
    """The names of all headers, in lower case."""
    is_outline: bool = False
    """Whether its outline was shown instead."""
    fault: str = ""
    """Why it has no outline, in words; "" if it has one, or was not asked for one."""
    received: bytes | bytearray | None = None
    """The body itself, where no event has it in base64; nothing is added to it any more."""

    @property
    def is_empty(self) -> bool:
        """Whether there is none: it was shown, and has no bytes."""
        return self.encoded == "" if self.received is None else not self.received

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> CallBody:
        """Return the body of the `request` of an origin-request event."""
        headers, body = request["headers"], request.get("body")
        shown: Mapping[str, Any] = body if isinstance(body, Mapping) and body.get("encoding") == "base64" else {}
        data = shown.get("data")
        return cls(
            encoded=data if isinstance(data, str) else None,
            truncated=not isinstance(data, str) or shown.get("inputTruncated") is not False,
            is_outline="outline" in shown,
            fault=str(shown.get("outline", "")),
            content_types=_values(headers, "content-type"),
            content_encodings=_values(headers, "content-encoding"),
            header_names=tuple(headers),
        )

    def __repr__(self) -> str:
        # SECURITY: what callers send to a model is theirs (test_body_is_not_printed).
        size = None if self.encoded is None else len(self.encoded) * 3 // 4
        size = size if self.received is None else len(self.received)
        return f"CallBody(about {size} bytes, truncated={self.truncated}, content_types={self.content_types!r})"

    def content(self) -> bytes:
        """Return the body whole; raises BodyNotShown (503, the edge's own fault) or BodyCut (413)."""
        # SECURITY: what is not read for models alone may be in what an outline leaves out (test_an_outline_is_for_models_alone).
        if self.is_outline:
            raise BodyCut
        return self._shown()

    def for_models(self) -> bytes:
        """Return the body whole, or its outline if `is_outline`; raises as `content`, or BodyTooMany or BodyNotJson."""
        if self.fault == TOO_LONG:
            raise BodyTooMany("objects, lists, members, strings or values")
        if self.fault:
            raise BodyNotJson(self.fault)
        return self._shown()

    def _shown(self) -> bytes:
        if self.encoded is None and self.received is None:
            raise BodyNotShown
        # SECURITY: a second model could hide behind the cut (test_truncated_body).
        if self.truncated:
            raise BodyCut
        if self.encoded is None:
            return bytes(self.received or b"")
        try:
            return base64.b64decode(self.encoded, validate=True)
        except (binascii.Error, ValueError):
            raise BodyNotShown from None


LEFT_OUT = "\0(left out)"
"""What stands in an outline for a text or a file that was left out; no model has such a name."""
BEGINNING = 64 * 1024
"""Bytes of a form's part that stay in its outline, its headers included."""
TOO_LONG = "its outline is too long"
"""The fault of a body of which too much stays in its outline."""
NOT_SHOWN = CallBody()
"""For calls whose body does not matter; a grant that limits models refuses it."""


def _values(headers: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple([header["value"].strip() for header in headers[name]]) if name in headers else ()
