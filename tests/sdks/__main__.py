"""Tries real clients against a Keybroker on this machine: `python -m tests.sdks [--write] [--newest] [--only TEXT]`.

`make test-sdks` runs it. Every client is put through every case that it has; what its user sees is held against the rules
(tests/sdks/rules.py) and against what is kept of the last time (results.json), which `--write` replaces, and
docs/clients.md with it. `--newest` makes the environments anew, with the newest of their ranges. Without
`--only`, the programs of tests/sdks/programs.py come first. An environment that cannot be made is said, and its clients are skipped. Other versions alone are
no difference. Exit codes: 0 all is as it was; 1 a rule is broken, or something is not as it was.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.sdks import environments, page, programs, results
from tests.sdks.cases import CaseSetupError, Play
from tests.sdks.clients import CLIENTS, Client
from tests.sdks.conversation import SilentClientError, conversation
from tests.sdks.environments import EnvironmentUnavailableError
from tests.sdks.results import Result
from tests.sdks.rules import broken
from tests.sdks.stage import Stage, staged

KEYBROKER = Path(sys.executable).with_name("keybroker")


def main(arguments: list[str]) -> int:
    """Try the clients and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sdks")
    parser.add_argument("--write", action="store_true", help="keep what is observed, and write docs/clients.md from it")
    parser.add_argument("--only", default="", metavar="TEXT", help="those clients whose name has this in it")
    parser.add_argument("--newest", action="store_true", help="make the environments anew")
    asked = parser.parse_args(arguments)
    if asked.newest:
        environments.forget()
    chosen = [client for client in CLIENTS if asked.only in client.name]
    kept = results.read()
    others = 0 if asked.only else programs.main(["--write"] if asked.write else [])
    with tempfile.TemporaryDirectory() as directory, staged(Path(directory)) as stage:
        tried = {client.name: _tried(client, stage) for client in chosen}
    fine = {name: found for name, found in tried.items() if isinstance(found, Result)}
    different = [name for name, found in fine.items() if name not in kept or found.cases != kept[name].cases]
    if asked.write:
        results.write({**kept, **fine}, tuple(client.name for client in CLIENTS))
        page.write()
    else:
        sys.stderr.writelines(_differences(different, kept, fine))
    failed = [name for name, found in tried.items() if found is False]
    skipped = [name for name, found in tried.items() if found is None]
    sys.stdout.write(f"{len(tried)} clients: {len(fine)} ok, {len(failed)} failed, {len(skipped)} skipped\n")
    return int(bool(others or failed or (different and not asked.write)))


def _tried(client: Client, stage: Stage) -> Result | bool | None:
    """Return what was observed, False if a rule is broken, None if the client was skipped."""
    try:
        command = environments.command(client)
    except EnvironmentUnavailableError as fault:
        sys.stderr.write(f"SKIPPED: {client.name} was NOT tried: {fault}\n")
        return None
    try:
        found = _play(client, command, stage)
    except (CaseSetupError, SilentClientError) as fault:
        sys.stderr.write(f"FAILED: {client.name}: {fault}\n")
        return False
    faults = list(broken(client, found.cases))
    sys.stderr.writelines(f"FAILED: {client.name} {found.version}: {fault}\n" for fault in faults)
    if not faults:
        sys.stdout.write(f"ok: {client.name} {found.version}: {len(found.cases)} cases\n")
        sys.stdout.flush()
    return found if not faults else False


def _play(client: Client, command: list[str], stage: Stage) -> Result:
    around = environment(stage)
    with contextlib.ExitStack() as stack:
        talk = stack.enter_context(conversation(command, around))
        proxied = None
        if "proxied" in client.ways:
            below = [str(KEYBROKER), "exec", "--proxy", "--key", client.key, "--", *command]
            proxied = stack.enter_context(conversation(below, around))
        outcomes = Play(client, talk, proxied, stage).all()
        return Result(talk.version, {case: results.record(outcome) for case, outcome in outcomes.items()})


def environment(stage: Stage) -> Mapping[str, str]:
    """Return what a client's process has around it: the job of a CI, whose identity the brief Keybroker admits."""
    return stage.brief.running.job(str(KEYBROKER.parent))


def _differences(names: list[str], kept: Mapping[str, Result], fine: Mapping[str, Result]) -> Iterator[str]:
    for name in names:
        before = kept[name].cases if name in kept else {}
        for case, now in fine[name].cases.items():
            if now != before.get(case):
                yield f"DIFFERENT: {name}, {case}:\n  was {before.get(case)}\n  is  {now}\n"
    if names:
        yield "docs/clients.md says something else; if this is right, write it: make test-sdks SDKS=--write\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
