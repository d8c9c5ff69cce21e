"""The tables of docs/providers.md, written from the presets: `python -m tests.provider_table` puts them there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from chalicelib.providers.entry import Provider
from chalicelib.providers.presets import PROVIDERS

DOC = Path(__file__).resolve().parent.parent / "docs" / "providers.md"


def written(text: str) -> str:
    """Return the page with its tables as they have to be."""
    for name, lines in (("presets", _presets()), ("paths", _paths()), ("closed", _closed())):
        found = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not found.search(text):
            raise ValueError(f"docs/providers.md has no place for {name}")
        table = "".join(f"{line}\n" for line in lines)
        text = found.sub(lambda place, table=table: place[1] + table + place[2], text)  # type: ignore[misc]  # bound now
    return text


def _presets() -> Iterator[str]:
    yield "| `provider` | origin | the key is sent as | the token may come in | `base_url` of its tokens | checked with |"
    yield "|---|---|---|---|---|---|"
    for name, one in PROVIDERS.items():
        token = ", ".join([*(f"`{header}`" for header in one.token_headers), *_parameter(one)])
        probe = f"`{one.probe.method} {one.probe.path}`" if one.probe else "-"
        cells = (f"`{one.origin}`" if one.origin else "set with the key", f"`{one.header}: {one.prefix}…`", token)
        yield f"| `{name}` | {' | '.join(cells)} | `EDGE/<key>{one.base_path}` | {probe} |"


def _parameter(one: Provider) -> Iterator[str]:
    if one.token_parameter:
        yield f"`?{one.token_parameter}=`"


def _paths() -> Iterator[str]:
    yield "| `provider` | a path that a client writes as | goes on, and is matched with scopes, as |"
    yield "|---|---|---|"
    for name, one in PROVIDERS.items():
        for theirs, own in one.paths:
            if theirs != own:
                yield f"| `{name}` | {f'`{theirs}/…`' if theirs else 'anything else, `/…`'} | `{own}/…` |"


def _closed() -> Iterator[str]:
    yield "| `provider` | closed for every grant, with all that is below |"
    yield "|---|---|"
    for name, one in PROVIDERS.items():
        if one.closed:
            yield f"| `{name}` | {' '.join(f'`{path}`' for path in one.closed)} |"


if __name__ == "__main__":
    DOC.write_text(written(DOC.read_text(encoding="utf-8")), encoding="utf-8")
