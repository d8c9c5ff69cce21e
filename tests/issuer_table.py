"""The table of docs/grants.md that is generated from the issuer presets: `python -m tests.issuer_table` (`make issuers`) writes it."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.issuers.presets import GENERIC, PRESETS
from chalicelib.policy.schema import spelled
from tests.provider_table import ROOT, page

DOC = ROOT / "docs" / "grants.md"


def _issuers() -> Iterator[str]:
    yield "| Preset | Known by | Longest lifetime | Exchanged once | What the platform says of the lifetime |"
    yield "|---|---|---|---|---|"
    for name, one in (*((f"`{name}`", one) for name, one in PRESETS.items()), ("none", GENERIC)):
        known = one.id_words or f"`{one.identity.name}`"
        yield f"| {name} | {known} | {spelled(one.max_lifetime)} | {'yes' if one.single_use else 'no'} | {one.documented} |"


TABLES = {"issuers": _issuers}


if __name__ == "__main__":
    DOC.write_text(page(DOC.read_text(encoding="utf-8"), TABLES), encoding="utf-8")
