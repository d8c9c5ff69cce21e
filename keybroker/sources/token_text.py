"""What a text is that should be an identity token: the token as people and tools wrap it, or what to call it instead."""

from __future__ import annotations

import re

_BEARER = re.compile(r"bearer\s+", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?:export\s+)?[A-Za-z_]\w*\s*[=:]", re.ASCII)
_SEGMENTS_OF_A_JWE = 5


def unwrapped(text: str) -> str:
    """Return a text without what is often around a token: white space, a byte order mark, quotes, `Bearer`."""
    inner = text.strip().strip("\ufeff").strip()
    for quote in ('"', "'"):
        if len(inner) > 1 and inner[0] == inner[-1] == quote:
            inner = inner[1:-1].strip()
            break
    return _BEARER.sub("", inner, count=1) if _BEARER.match(inner) else inner


def kind(text: str) -> str:
    """Return what an unwrapped text is that is no token, "" where that is not known.

    SECURITY: it says nothing of the text but its kind (test_a_non_token_is_never_quoted).
    """
    lines = len(text.splitlines())
    kinds = (
        (text.startswith(("{", "[")), "it holds JSON; write the token alone, as `jq -r .value` does"),
        (text.startswith("-----BEGIN "), "it holds a key or certificate (PEM)"),
        (_ASSIGNMENT.match(text), "it holds an assignment (NAME=…); write the value alone"),
        (lines > 1, f"it holds {lines} lines; a token is one, without a break"),
        (len(text.split()) > 1, "it holds several words"),
        (text.count(".") == _SEGMENTS_OF_A_JWE - 1, "it has five segments, as an encrypted token (JWE) has"),
    )
    return next((what for found, what in kinds if found), "")
