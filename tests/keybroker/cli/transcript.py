"""Transcripts: files that show commands, what they print and their exit codes, and that are run.

Prose stands on lines of its own. `$ ` begins a command, `> ` goes on with it; below it is what it writes to stdout, then
each line of stderr after `! `, then `[exit N]`. All commands of a file are given to one bash, one after the other. What
differs from run to run has a name instead: TOKEN, TIME, ID, `https://broker.example` …
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.keybroker.cli.keybroker_command import COMMAND, bare, without_waiting
from tests.running import Running

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "transcripts"
STAGE = HERE / "stage"
"""Files that lie where the commands are run."""
_SECONDS = 120
_END = re.compile(r"\[exit \d+\]")


@dataclass(frozen=True)
class Step:
    """One command with the prose before it, and what it shows, `[exit N]` included."""

    prose: tuple[str, ...]
    command: tuple[str, ...]
    shown: tuple[str, ...]


def steps(text: str) -> tuple[Step, ...]:
    """Read a transcript."""
    found, prose, command, shown = [], list[str](), list[str](), list[str]()
    for line in text.splitlines():
        if not command and not line.startswith("$ "):
            prose.append(line)
        elif not command or (line.startswith("> ") and not shown):
            command.append(line[2:])
        else:
            shown.append(line)
        if command and _END.fullmatch(line):
            found.append(Step(tuple(prose), tuple(command), tuple(shown)))
            prose, command, shown = [], [], []
    assert not command, f"no [exit N] after {command}"
    return tuple(found)


def written(played: tuple[Step, ...]) -> str:
    """Return a transcript's text."""
    lines: list[str] = []
    for step in played:
        first, *more = step.command
        lines += [*step.prose, f"$ {first}", *(f"> {line}" for line in more), *step.shown]
    return "\n".join(lines) + "\n"


def play(asked: tuple[Step, ...], running: Running, here: Path, environ: Mapping[str, str]) -> tuple[Step, ...]:
    """Run the commands and return the steps with what was shown. here: an empty folder."""
    work, results, programs = here / "work", here / "results", here / "programs"
    shutil.copytree(STAGE, work)
    for folder in (results, programs, here / "home"):
        folder.mkdir()
    (programs / "keybroker").write_text(f'#!/bin/sh\nexec {COMMAND[0]} -m keybroker.cli "$@"\n')
    (programs / "keybroker").chmod(0o755)
    script = "".join(_lines(step, results / str(number)) for number, step in enumerate(asked))
    paths = f"{programs}:{Path(COMMAND[0]).parent}:{bare()['PATH']}"
    home = {"PATH": paths, "HOME": str(here / "home")}
    subprocess.run(
        ["bash", "-c", script], cwd=work, env={**bare(), **home, **environ}, timeout=_SECONDS, check=True, text=True
    )
    names = _names(running, here, environ)
    return tuple(
        Step(step.prose, step.command, tuple(_shown(results, number, names))) for number, step in enumerate(asked)
    )


def _lines(step: Step, result: Path) -> str:
    command = "\n".join(step.command)
    return f"{{ {command}\n}} >{result}.out 2>{result}.err </dev/null\necho $? >{result}.code\n"


def _shown(results: Path, number: int, names: list[tuple[str, str]]) -> Iterator[str]:
    out, err, code = ((results / f"{number}.{part}").read_text() for part in ("out", "err", "code"))
    yield from list(_aligned(_named(out, names).splitlines()))[:-1]
    yield from (f"! {line}".rstrip() for line in _named(without_waiting(err), names).splitlines())
    yield f"[exit {code.strip()}]"


def _names(running: Running, here: Path, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what is replaced: patterns and names, in order."""
    port = r":\d{4,5}"
    return [
        (re.escape(running.broker), "https://broker.example"),
        (re.escape(running.edge), "https://edge.example"),
        (re.escape(running.issuer), "https://ci.example"),
        (re.escape(environ["KEYBROKER_LOGIN_ISSUER"]), "https://login.example"),
        (re.escape(f"lets {socket.gethostname()} act"), "lets MACHINE act"),
        (re.escape(running.provider.replace("127.0.0.1", "localhost")), "https://provider.example"),
        (re.escape(f"{here}/work"), "."),
        (re.escape(f"{here}/home"), "~"),
        (rf"127\.0\.0\.1{port}", "LOOPBACK"),
        (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
        (r"kb-local-[\w-]+", "LOCAL-KEY"),
        (r"retry-[\w-]{20,}", "REVOCATION"),
        (r"practice-[0-9a-f]{8}\b", "VERSION"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "REQUEST"),
        (r"\b[0-9a-f]{32}\b", "REQUEST"),
        # 16 random bytes in base64url: one in forty has no digit, one in a hundred thousand no capital or no small letter
        (r"(?<![\w-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{22}(?![\w-])", "ID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME"),
        (r"\b20\d\d-\d\d-\d\d(?=  TIME)", "DATE"),
        (
            r"calls since: (?:0 admitted, )?\d+ refused(?:; those admitted are told from TIME on)?",
            "calls since: 0 admitted, 1 refused",
        ),
        (r"\b1[789]\d{8}\b", "EPOCH"),
        (r"\bkey_[0-9a-f]{24}\b", "KEY-ID"),
        (r"provider in \d{1,3} (?:min|h) \(", "provider in N h ("),
        (r"\b(ends|again) in \d{1,5} (?:s|min|h|d)\b", r"\1 in N h"),
        (r"\b\d{1,5} (?:s|min) ago\b", "N s ago"),
        (r"\(in \d{1,5} (?:s|min|h)\)", "(in N min)"),
        (r"\b\d{1,5} s\b", "N s"),
        (r"one of openai, anthropic, [\w, -]+", "one of openai, anthropic, …"),
        (r'("(expires_in|port)": )\d+', r"\1N"),
    ]


def _named(text: str, names: list[tuple[str, str]]) -> str:
    for pattern, name in names:
        text = re.sub(pattern, name, text)
    return text


def _aligned(lines: list[str]) -> Iterator[str]:
    """Put the columns of each table below each other again: names are not as wide as what they replace."""
    table: list[list[str]] = []
    for line in [*lines, ""]:
        cells = re.split(r" {2,}", line)
        if (table and len(cells) == len(table[0])) or (len(cells) > 1 and re.fullmatch(r"[A-Z ]+", line)):
            table.append(cells)
            continue
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        yield from ("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
        table = []
        yield line


def read(name: str) -> str:
    """Return a transcript's text, by the file's name."""
    return (FOLDER / name).read_text(encoding="utf-8")
