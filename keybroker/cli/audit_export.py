"""`keybroker audit export --since-cursor …`: what the audit has since the last time, for a SIEM, oldest first."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import click

from keybroker.cli import export_cursor, output, server
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, QUOTA, REMOTE, CommandError
from keybroker.cli.export_cursor import Cursor
from keybroker.cli.settings import Settings, pass_settings, url_options
from keybroker.cli.times import format_time, parse_time
from keybroker.tries import Tries

LAG = 120
"""Seconds that an export stays behind by default: an event that is being written now has an earlier time."""
SLICE = 3600
"""Seconds that are read at first; more where there is little, less where there is much."""
LONGEST = 366 * 86400
"""Seconds that are read at most: a store looks back for two years only."""
FIRST = 1_767_225_600
"""Where a new cursor begins, epoch seconds: 2026, before there was any event."""
MOST = 5000
"""Events held at once, but for those of a single second."""
_RETRIED_FOR = 120.0
"""Seconds for which a page is asked for again if the administration is busy or failing."""


@click.command(context_settings=server.PLAIN, short_help="Write events for a SIEM, or those of a state directory.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def export(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Write events: of a state directory with --state, and otherwise over the administration API."""
    if any(one == "--state" or one.startswith("--state=") for one in arguments):
        server.start("audit", ("export", *arguments))
        return
    with _export.make_context(context.info_name, list(arguments), parent=context.parent) as inner:
        _export.invoke(inner)


@click.command("export", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--since-cursor", "since", required=True, metavar="FILE", help="Where the last export ended; made if missing."
)
@click.option(
    "--output", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Append to this file."
)
@click.option("--format", "form", type=click.Choice(["jsonl", "ocsf"]), default="jsonl", show_default=True)
@click.option("--with-claims", "claims", is_flag=True, help="Include the callers' verified claims, which name people.")
@click.option("--lag", type=click.IntRange(0, 86400), default=LAG, show_default=True, help="Seconds to stay behind.")
@url_options
@pass_settings
def _export(  # noqa: PLR0913  the options of a command
    settings: Settings, /, since: str, target: Path | None, form: str, lag: int, *, claims: bool
) -> None:
    """Write what the audit has since the last export as JSON lines, oldest first.

    Without --output they go to stdout. --since-cursor may be a time instead of a file: 2h, 7d, 2026-11-24. After an
    interruption an event may come twice, with the same id (metadata.uid in OCSF).

    With --state DIR, the events of a state directory are written: see `audit export --state DIR --help`.
    """
    until = int(time.time()) - lag
    keep, start, cursor = _begin(since)
    source = _Source(AdminClient(settings.admin_api_url), form, claims)
    try:
        with _opened(target) as file:
            written = _run(source, start, until, cursor, _Sink(file, keep, stream=target is None))
    except OSError as error:
        raise CommandError(LOCAL, f"cannot write the export: {error.strerror or error}") from None
    output.message(f"exported: {written} events, up to {format_time(until)}")


@dataclass(frozen=True, slots=True)
class _Source:
    client: AdminClient
    form: str
    claims: bool

    def events(self, since: int, until: int) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
        """Yield time, id and form of the events of a time, newest first; raises CommandError."""
        query = {"since": since, "until": until, "limit": 200, "claims": "true" if self.claims else "false"}
        query |= {"format": "ocsf"} if self.form == "ocsf" else {}
        after: str | None = ""
        while after is not None:
            page = self._page({**query, **({"after": after} if after else {})})
            for one in page["items"]:
                if self.form == "ocsf":
                    yield one["time"] // 1000, one["metadata"]["uid"], one
                else:
                    yield one["at"], one["id"], one
            after = page["next"]

    def _page(self, query: Mapping[str, object]) -> Any:  # noqa: ANN401  any JSON
        tries = Tries(_RETRIED_FOR)
        while True:
            try:
                return self.client.get("/admin/audit", query)
            except CommandError as error:
                if error.code not in (QUOTA, REMOTE) or not tries.wait():
                    raise


@dataclass(frozen=True, slots=True)
class _Sink:
    file: BinaryIO
    keep: Path | None
    stream: bool

    def begin(self, cursor: Cursor) -> Cursor:
        """Remove what was written after this cursor, by an export that was ended."""
        return cursor if self.stream else replace(cursor, file=export_cursor.cut_off(self.file, cursor))

    def commit(self, lines: list[Mapping[str, Any]], cursor: Cursor) -> Cursor:
        """Write lines, and only then the cursor behind them."""
        self.file.writelines(json.dumps(one).encode() + b"\n" for one in lines)
        self.file.flush()
        if not self.stream:
            os.fsync(self.file.fileno())
            cursor = replace(cursor, size=self.file.tell())
        if self.keep:
            export_cursor.write(self.keep, cursor)
        return cursor


def _begin(since: str) -> tuple[Path | None, int, Cursor]:
    """Return where the cursor is kept, when to begin, and the cursor; a time is kept nowhere."""
    path = Path(since)
    if (found := export_cursor.read(path)) is not None:
        return path, max(0, found.until - export_cursor.OVERLAP), found
    try:
        return None, parse_time(since, int(time.time()), -1), Cursor()
    except (ValueError, OverflowError):
        return path, FIRST, Cursor()


def _run(source: _Source, start: int, until: int, cursor: Cursor, sink: _Sink) -> int:
    """Write slice after slice, each with its cursor; return how many events."""
    cursor, since, length, written = sink.begin(cursor), start, SLICE, 0
    while since < until:
        end = min(until, since + length)
        found = _slice(source, since, end)
        if found is None:
            length = max(1, length // 8)
            continue
        fresh = {one: (at, form) for at, one, form in reversed(found) if one not in cursor.seen}
        times = {one: at for one, (at, _) in fresh.items()}
        ordered = sorted(fresh.values(), key=lambda pair: pair[0])
        cursor = sink.commit([form for _, form in ordered], cursor.after(end, times))
        written, since = written + len(fresh), end
        length = min(length * 2, LONGEST) if len(found) < MOST // 4 else length
    return written


def _slice(source: _Source, since: int, end: int) -> list[tuple[int, str, Mapping[str, Any]]] | None:
    """Return the events of a time; None if they are too many, and the time can be shorter."""
    found = []
    for one in source.events(since, end):
        found.append(one)
        if len(found) > MOST and end - since > 1:
            return None
    return found


@contextlib.contextmanager
def _opened(target: Path | None) -> Iterator[BinaryIO]:
    if target is None:
        yield sys.stdout.buffer
        return
    # SECURITY: the audit is for its readers alone (test_an_export_is_for_its_owner).
    with os.fdopen(os.open(target, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        yield file
