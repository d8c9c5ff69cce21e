"""tests/vectors/providers: for each provider a call as its client sends it and as it has to go on, and examples of its rules.

sent by, scope, origin, config, in, out    the call, as CloudFront shows it; `origin` is null for the provider's own
paths              pairs: a path as clients write it, and as the provider does
mapped twice       paths that are refused because one reading of them could be taken for another
closed, open       paths that no grant opens, and their neighbours that one can
key                a key as the provider makes them; `{ab*3}` stands for `ababab`
assigned key       in its place, for a key without a prefix: an assignment to its variable
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent / "vectors" / "providers"
VECTORS: dict[str, dict[str, Any]] = {
    file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(_FOLDER.glob("*.json"))
}


def examples(name: str) -> list[tuple[str, Any]]:
    """Return (provider, example) for each example of this name, to parametrize a test with."""
    return [(provider, one) for provider, vector in VECTORS.items() for one in vector.get(name, ())]


def keys(name: str) -> dict[str, str]:
    """Return provider -> its example of a key. name: `key` or `assigned key`."""
    return {provider: _repeated(vector[name]) for provider, vector in VECTORS.items() if name in vector}


def _repeated(text: str) -> str:
    return re.sub(r"\{([^{}*]+)\*(\d+)\}", lambda found: found[1] * int(found[2]), text)
