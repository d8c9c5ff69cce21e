"""How a server of the CGI kind (WSGI, Rack, PHP) reads the headers of a call: names folded, repetitions joined."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from email.message import Message
from email.parser import BytesParser
from urllib.parse import parse_qsl


def variables(headers: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, str]:
    """Return `HTTP_NAME` -> its values, joined with commas, as Apache 2.2 and lighttpd make them, which fold the most."""
    found: dict[str, list[str]] = {}
    for name, values in headers.items():
        folded = "HTTP_" + re.sub("[^A-Z0-9]", "_", name.upper())
        found.setdefault(folded, []).extend(one["value"] for one in values)
    return {name: ",".join(values) for name, values in found.items()}


def fields(content_type: str, content: bytes) -> set[str]:
    """Return the names, in lower case, that Rails or Laravel would find in a body."""
    if "json" in content_type:
        found = json.loads(content) if _is_json(content) else None
        return {name.lower() for name in found} if isinstance(found, dict) else set()
    if content_type.startswith("multipart/"):
        parsed = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content)
        parts = parsed.get_payload() if parsed.is_multipart() else []
        names = [one.get_param("name", header="content-disposition") for one in parts if isinstance(one, Message)]
        return {str(name).lower() for name in names}
    if "form-urlencoded" not in content_type:
        return set()
    pairs = parse_qsl(content.decode("latin-1").replace(";", "&"), keep_blank_values=True)
    return {name.strip("[] ").lower() for name, _ in pairs}


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
