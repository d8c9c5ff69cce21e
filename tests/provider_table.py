"""What is generated from the providers' entries: `python -m tests.provider_table` (`make providers`) writes it.

Tables of three pages, each between `<!-- name -->` and `<!-- /name -->`, and the command line's providers.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from chalicelib.providers.entry import FORM, JSON, ModelEndpoints, Provider, Sdk
from chalicelib.providers.presets import PROVIDERS

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "keybroker" / "cli" / "providers.json"
_BODIES = {(FORM,): " (form)", (FORM, JSON): " (form or JSON)"}


def page(text: str, tables: Mapping[str, Callable[[], Iterator[str]]]) -> str:
    """Return a page with its tables as they have to be."""
    for name, table in tables.items():
        found = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not found.search(text):
            raise ValueError(f"the page has no place for {name}")
        lines = "".join(f"{line}\n" for line in table())
        text = found.sub(lambda place, lines=lines: place[1] + lines + place[2], text)  # type: ignore[misc]  # bound now
    return text


def openai_base(provider: Provider) -> str | None:
    """Return the path below which a provider has OpenAI's API, None if it has none."""
    return next((base for base in provider.openai_bases() if "{" not in base), None)


def data() -> str:
    """Return the command line's providers.json."""
    patterns = {
        name: {"pattern": one.key_pattern, "variables": list(one.key_variables)}
        for name, one in PROVIDERS.items()
        if one.key_pattern
    }
    sdks = {sdk.name: {name: getattr(sdk, name) for name in ("key", "url", "unset", "ours", "also")} for sdk in _sdks()}
    return json.dumps({"key_patterns": patterns, "sdks": sdks}, indent=1) + "\n"


def _presets() -> Iterator[str]:
    yield "| `provider` | origin | the key is sent as | the token may come in | `base_url` of its tokens | checked with | its errors say why in |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in PROVIDERS.items():
        token = ", ".join([*(f"`{header}`" for header in one.token_headers), *_parameter(one)])
        probe = f"`{one.probe.method} {one.probe.path}`" if one.probe else "-"
        cells = (f"`{one.origin}`" if one.origin else "set with the key", f"`{one.header}: {one.prefix}…`", token)
        error = f"`{'.'.join(one.error_text)}`" if one.error_text else "-"
        yield f"| `{name}` | {' | '.join(cells)} | `EDGE/<key>{one.base_path}` | {probe} | {error} |"


def _parameter(one: Provider) -> Iterator[str]:
    if one.token_parameter:
        yield f"`?{one.token_parameter}=`"


def _openai() -> Iterator[str]:
    yield "| `provider` | `base_url` of OpenAI's clients |"
    yield "|---|---|"
    for name, one in PROVIDERS.items():
        base = openai_base(one)
        if base is not None:
            yield f"| `{name}` | `EDGE/{name}{base}` |"


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


def _models() -> Iterator[str]:
    yield "| Provider | Base | Endpoints |"
    yield "|---|---|---|"
    for provider, one in PROVIDERS.items():
        by_base: dict[str, str] = {}
        for group in one.models:
            by_base[group.base] = ", ".join([*filter(None, [by_base.get(group.base)]), _endpoints(group)])
        bases: dict[str, list[str]] = {}
        for base, names in by_base.items():
            bases.setdefault(names, []).append(base or "/")
        for names, same in bases.items():
            yield f"| `{provider}` | {', '.join(f'`{base}`' for base in same)} | {names} |"


def _endpoints(group: ModelEndpoints) -> str:
    return ", ".join(f"`{name}`{_BODIES.get(group.bodies, '')}" for name in group.names.split())


def _variables() -> Iterator[str]:
    yield "| `--for`, or the key's name | set | unset |"
    yield "|---|---|---|"
    for sdk in _sdks():
        made = ", ".join(f"`{name}`" for name in (sdk.key, sdk.url, *sdk.also)) + (f" ({sdk.note})" if sdk.note else "")
        yield f"| `{sdk.name}` | {made} | {', '.join(f'`{name}`' for name in sdk.unset)} |".replace("|  |", "| |")
    yield "| any other `name` | `NAME_API_KEY`, `NAME_BASE_URL` | |"


def _sdks() -> Iterator[Sdk]:
    for one in PROVIDERS.values():
        yield from one.sdks


PAGES: Mapping[Path, Mapping[str, Callable[[], Iterator[str]]]] = {
    ROOT / "docs" / "providers.md": {
        "presets": _presets,
        "openai": _openai,
        "paths": _paths,
        "closed": _closed,
    },
    ROOT / "docs" / "grants.md": {"models": _models},
    ROOT / "docs" / "cli.md": {"sdks": _variables},
}
"""Each page's tables."""


if __name__ == "__main__":
    for path, tables in PAGES.items():
        path.write_text(page(path.read_text(encoding="utf-8"), tables), encoding="utf-8")
    DATA.write_text(data(), encoding="utf-8")
