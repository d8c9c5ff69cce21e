"""The table of docs/errors.md, written from the classes: `python -m tests.error_table` puts it there."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from chalicelib.errors import Refusal
from chalicelib.tokens.errors import CLAIM_REASONS, PROOF_REASONS, REASONS

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "docs" / "errors.md"
TEXTS = ROOT / "keybroker" / "cli" / "refusals.json"
EVERY_DOOR = ("public", "admin", "edge")
_DOORS = {
    "chalicelib.admin": ("admin",),
    "chalicelib.aws": ("public", "admin"),
    "chalicelib.edge": ("edge",),
    "chalicelib.exchange": ("public",),
    "chalicelib.http": ("public", "admin"),
    "chalicelib.issuers": ("public",),
    "chalicelib.models": ("edge",),
    "chalicelib.policy": ("public",),
    "chalicelib.providers": ("edge",),
    "chalicelib.tokens": ("public", "edge"),
    "local": ("one machine",),
}
"""Where a room's refusals are answered; the shared ones can come from every door."""
_EXCEPTIONS = {
    "BodyTooLarge": ("public", "admin"),
    "MalformedRequest": ("public", "admin"),
    "NoSuchKey": ("admin",),
    "NoSuchTarget": ("admin",),
    "NotAnAdministrator": ("admin",),
    "PolicyChanged": ("admin",),
    "ProviderKeysUnwritable": ("admin",),
    "QueryMalformed": ("public",),
    "SigningUnavailable": ("public",),
}
_OF_TOKENS = {
    REASONS: "any [reason of a token](#reasons-of-a-token)",
    PROOF_REASONS: "a [reason of a token](#reasons-of-a-token): who sends it is not proved",
    CLAIM_REASONS: "a [reason of a token](#reasons-of-a-token): its claims are refused",
}
"""What stands in the table for reasons that have a list of their own."""


def refusals() -> list[type[Refusal]]:
    """Return every refusal that can be made, by its reason: the classes that have one."""
    for path in sorted(ROOT.glob("chalicelib/**/*errors.py")) + sorted(ROOT.glob("local/**/*errors.py")):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found = [kind for kind in _below(Refusal) if kind.reasons and kind.__module__.startswith(("chalicelib.", "local."))]
    return sorted(found, key=lambda kind: (min(kind.reasons), kind.__module__))


def edge_texts() -> dict[str, str]:
    """Return what each reason of a refusal at the edge means, and what to do: what the command line says of it."""
    found: dict[str, str] = {}
    for kind in refusals():
        if "edge" in doors(kind) or kind.__module__.startswith("local.simulator"):
            found |= dict.fromkeys(kind.reasons, _meaning(kind))
    return dict(sorted(found.items()))


def doors(kind: type[Refusal]) -> tuple[str, ...]:
    """Return the doors that answer a refusal."""
    room = ".".join(kind.__module__.split(".")[: 1 if kind.__module__.startswith("local") else 2])
    return _EXCEPTIONS.get(kind.__name__) or _DOORS.get(room, EVERY_DOOR)


def written(text: str) -> str:
    """Return the page with its tables as they have to be."""
    for name, lines in (("refusals", _rows()), ("token reasons", _token_reasons())):
        found = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not found.search(text):
            raise ValueError(f"docs/errors.md has no place for {name}")
        table = "".join(f"{line}\n" for line in lines)
        text = found.sub(lambda place, table=table: place[1] + table + place[2], text)  # type: ignore[misc]  # bound now
    return text


def _below(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _rows() -> Iterator[str]:
    yield "| Reason | OAuth code | Status | Door | Meaning, and what to do | Retry? |"
    yield "|---|---|---|---|---|---|"
    for kind in refusals():
        reasons = _OF_TOKENS.get(kind.reasons) or _quoted(kind.reasons)
        statuses = ", ".join(str(status) for status in kind.statuses)
        retry = "yes" if kind.retryable else "no"
        yield f"| {reasons} | `{kind.error}` | {statuses} | {', '.join(doors(kind))} | {_meaning(kind)} | {retry} |"


def _meaning(kind: type[Refusal]) -> str:
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def _token_reasons() -> Iterator[str]:
    others = tuple(one for one in REASONS if one not in {*PROOF_REASONS, *CLAIM_REASONS})
    yield f"- Who sends it is not proved: {_quoted(PROOF_REASONS)}"
    yield f"- Its claims are refused: {_quoted(CLAIM_REASONS)}"
    yield f"- Of our own tokens only: {_quoted(others)}"


def _quoted(reasons: tuple[str, ...]) -> str:
    return ", ".join(f"`{reason}`" for reason in reasons)


if __name__ == "__main__":
    DOC.write_text(written(DOC.read_text(encoding="utf-8")), encoding="utf-8")
    TEXTS.write_text(json.dumps(edge_texts(), indent=0) + "\n", encoding="utf-8")
