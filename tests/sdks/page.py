"""docs/clients.md, written from what is kept of the last trial: `python -m tests.sdks.page` does that alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.running import ROOT
from tests.sdks import programs, results
from tests.sdks.clients import CLIENTS, NOTES, Client
from tests.sdks.results import Record, Result
from tests.sdks.rules import cases_of

DOC = ROOT / "docs" / "clients.md"
HERE = Path(__file__).resolve().parent
COLUMNS: Mapping[str, str] = {
    "plain": "plain",
    "streamed": "streamed",
    "refused": "out of scope",
    "minute": "minute's quota used up",
    "quota": "day's quota used up",
    "revoked": "revoked during the run",
    "expired": "token over: a fixed one",
    "refreshed": "token over: it gets its own",
    "proxied": "token over: `exec --proxy`",
    "no_more": "the next token is refused",
}
"""The cases, as the page calls them."""
_BODY = re.compile(r"""\{["']type["']: ?["']error["'].*?["']message["']: ?(["'].*?["']), ?["']type["'].*\}""")
_WAYS = {"Given a token": "fixed", "Gets its own": "refreshed", "Below `keybroker exec`": "bare"}


def written(text: str, kept: Mapping[str, Result]) -> str:
    """Return the page with what is kept in it; raises ValueError if it has no place for that."""
    for name, lines in (
        ("results", _table(kept)),
        ("token", _module()),
        ("python", _sections(kept, lambda one: not one.is_agent and one.environment != "node")),
        ("node", _sections(kept, lambda one: one.environment == "node")),
        ("agents", _sections(kept, lambda one: one.is_agent)),
        ("programs", _programs()),
    ):
        found = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not found.search(text):
            raise ValueError(f"docs/clients.md has no place for {name}")
        block = "".join(f"{line}\n" for line in lines)
        text = found.sub(lambda place, block=block: place[1] + block + place[2], text)  # type: ignore[misc]  # bound now
    return text


def write() -> None:
    """Write the page."""
    DOC.write_text(written(DOC.read_text(encoding="utf-8"), results.read()), encoding="utf-8")


def _table(kept: Mapping[str, Result]) -> Iterator[str]:
    yield f"| client | version | {' | '.join(COLUMNS.values())} |"
    yield f"|{'---|' * (len(COLUMNS) + 2)}"
    for client in CLIENTS:
        result = kept.get(client.name, Result("not tried", {}))
        cells = (_cell(case, result.cases.get(case), client) for case in COLUMNS)
        yield f"| {client.name} | {result.version} | {' | '.join(cells)} |"


def _cell(case: str, one: Record | None, client: Client) -> str:
    if case not in cases_of(client):
        return "-"
    if one is None:
        return "not tried"
    if not one.is_error:
        if case == "minute":
            return f"waits, {len(one.statuses)} requests"
        return "goes on" if case in ("refreshed", "proxied") else "works"
    if case == "no_more" or not one.statuses:
        return "the broker's words"
    times = "1 request" if len(one.statuses) == 1 else f"{len(one.statuses)} requests in {one.wait or 'no time'}"
    return f"{one.statuses[0]}, {times}"


def _programs() -> Iterator[str]:
    kept = programs.read()
    yield f"| client | version | {' | '.join(programs.CALLS.values())} |"
    yield f"|{'---|' * (len(programs.CALLS) + 2)}"
    for name, tried in kept.items():
        cells = ("-" if call not in tried.calls else "works" for call in programs.CALLS)
        yield f"| {name} | {tried.version} | {' | '.join(cells)} |"
    yield ""
    yield "What reached the API, in this order:"
    yield ""
    for name, tried in kept.items():
        yield f"- {name}: {', '.join(f'`{one}`' for one in tried.sent)}"
    yield ""
    yield "What the user sees of a call that is out of scope:"
    yield ""
    for name, tried in kept.items():
        yield f"- {name}: {_quoted(tried.calls['refused'].said)}"


def _module() -> Iterator[str]:
    yield from _code("js", (HERE / "node" / "token.mjs").read_text(encoding="utf-8").strip())


def _sections(kept: Mapping[str, Result], has: Callable[[Client], bool]) -> Iterator[str]:
    own = [client for client in CLIENTS if has(client)]
    for section in dict.fromkeys(client.section for client in own):
        clients = [client for client in own if client.section == section]
        yield ""
        yield f"### {section}"
        yield ""
        yield from _opening(clients, kept)
        yield from _recipe(clients[0])
        yield ""
        yield "Its user sees:"
        yield ""
        yield from _texts(clients, kept)


def _opening(clients: list[Client], kept: Mapping[str, Result]) -> Iterator[str]:
    urls = dict.fromkeys(f"`EDGE{client.path}`" for client in clients)
    tried = {client.name: kept[client.name] for client in clients if client.name in kept}
    yield f"Base URL: {', '.join(urls)}. " + _places(tried)
    yield ""
    yield NOTES[clients[0].section]
    yield ""


def _places(tried: Mapping[str, Result]) -> str:
    places: dict[str, list[str]] = {}
    for name, result in tried.items():
        for header in result.cases["plain"].token_in:
            places.setdefault(header, []).append(name)
    if len(places) == 1:
        return f"The token is sent in `{next(iter(places))}`."
    told = (f"`{header}` ({', '.join(names)})" for header, names in places.items())
    return f"The token is sent in {' or '.join(told)}."


def _recipe(client: Client) -> Iterator[str]:
    if client.ways == ("exchange",):
        yield from _code("sh", _VARIABLES)
        return
    if client.is_agent:
        yield from _files(HERE / "agents" / client.environment)
        return
    node = client.environment == "node"
    folder, name = ("node", client.script[0]) if node else ("python", f"{client.script[0]}.py")
    source = (HERE / folder / name).read_text(encoding="utf-8")
    found = {title: _function(source, function) for title, function in _WAYS.items()}
    lead = "// " if node else "# "
    parts = [f"{lead}{title.replace('`', '')}\n{text}" for title, text in found.items() if text]
    yield from _code("js" if node else "python", ("\n\n" if node else "\n\n\n").join(parts))  # as the formatter has it


def _files(folder: Path) -> Iterator[str]:
    """Yield an agent's files, as they were tried."""
    there = [name for name in _AGENT_FILES if (folder / name).exists()]
    for name in there:
        language, title = _AGENT_FILES[name]
        yield from ("", title, "") if name != there[0] else (title, "")
        yield from _code(language, (folder / name).read_text(encoding="utf-8").strip())


_AGENT_FILES = {
    "settings.json": ("json", "It gets its own, by `~/.claude/settings.json` (`keybroker setup claude-code --write`):"),
    "config.toml": ("toml", "It gets its own, by `~/.codex/config.toml` (`keybroker setup codex --write`):"),
    "config-env-key.toml": ("toml", "Given a token in a variable, `OPENAI_API_KEY`:"),
    "below-exec.sh": ("sh", "Below `keybroker exec`, as a script that takes Codex's own arguments:"),
}
_VARIABLES = """\
export ANTHROPIC_BASE_URL=EDGE/anthropic
export ANTHROPIC_FEDERATION_RULE_ID=FEDERATION_RULE
export ANTHROPIC_ORGANIZATION_ID=keybroker
export ANTHROPIC_IDENTITY_TOKEN_FILE=/var/run/secrets/keybroker/token
unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_PROFILE"""


def _function(source: str, name: str) -> str:
    """Return a function as it stands in a script, but for what is the linter's; "" if it is not there."""
    found = re.search(rf"^(?:def|function) {name}\(.*?(?=\n\n|\Z)", source, re.DOTALL | re.MULTILINE)
    return re.sub(r"  # noqa: .*", "", found[0]) if found else ""


def _code(language: str, text: str) -> Iterator[str]:
    yield f"```{language}"
    yield from text.splitlines()
    yield "```"


def _texts(clients: list[Client], kept: Mapping[str, Result]) -> Iterator[str]:
    for case, title in COLUMNS.items():
        texts: dict[str, list[str]] = {}
        for client in clients:
            one = kept[client.name].cases.get(case) if client.name in kept else None
            if one is not None and one.is_error:
                texts.setdefault(one.said, []).append(client.name)
        for text, names in texts.items():
            whose = "" if len(texts) == 1 else f" ({', '.join(names)})"
            yield f"- {title}{whose}: {_quoted(text)}"


def _quoted(text: str) -> str:
    """Return an error's text as code; of a body that it has whole, only the message."""
    short = _BODY.sub(lambda found: f"{{… {found[1]} …}}", text)
    return f"`` {short} ``" if "`" in short else f"`{short}`"


if __name__ == "__main__":
    write()
