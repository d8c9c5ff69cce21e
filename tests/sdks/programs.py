"""Programs of GitHub's and GitLab's clients below `keybroker exec`, with and without `--proxy`: `python -m tests.sdks.programs [--write]`.

`make test-sdks` runs it after the clients of language models, which have other cases. Whatever goes past the edge is told
by the practice API, which has its own key and sees every request. Exit codes as of tests/sdks/__main__.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.practice_server import serving
from tests.running import ROOT, Running, start
from tests.sdks import environments, results
from tests.sdks.environments import HERE, EnvironmentUnavailableError
from tests.sdks.repositories import KEYS, Repositories

FILE = HERE / "programs.json"
KEYBROKER = Path(sys.executable).with_name("keybroker")
WAYS: Mapping[str, tuple[str, ...]] = {"exec": (), "exec --proxy": ("--proxy",)}
REFUSED = "the token does not open GET "
EXPECTED = {
    "ref": "commit",
    "file": "hello",
    "branch": "feature/x",
    "project": "group/app",
    "pages": "[1, 2, 3]",
}
"""What each call returns; of the others, that they return."""
CALLS: Mapping[str, str] = {
    "ref": "ref `heads/main`",
    "file": "a file in `docs`",
    "branch": "branch `feature/x`",
    "label": "remove label `kind: bug`",
    "project": "project `group/app`",
    "pages": "a list of 3 pages",
}
"""The calls that are answered, as the page has them."""
_SECONDS = 120
_POLICY = """\
keys:
  github: {provider: github}
  gitlab: {provider: generic}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  github:
    key: github
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope:
      - GET:/repos/octo/app/git/ref/*/*
      - GET:/repos/octo/app/contents/docs/**
      - GET:/repos/octo/app/branches/*
      - GET:/repos/octo/app/branches/*/*
      - DELETE:/repos/octo/app/issues/1/labels/*
      - GET:/repos/octo/app/issues
      - GET:/repositories/17/issues
    quota: {tokens: 1000/hour, calls: [1000/minute]}
  gitlab:
    key: gitlab
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["GET:/api/v4/projects/group%2Fapp", "GET:/api/v4/projects/17/issues"]
    quota: {tokens: 1000/hour, calls: [1000/minute]}
"""


@dataclass(frozen=True, slots=True)
class Program:
    """One client. environment and script: as of a `Client`. key: of the policy. calls: that the script makes."""

    name: str
    environment: str
    script: tuple[str, ...]
    key: str
    calls: tuple[str, ...]


_GITHUB = ("ref", "file", "branch", "label", "pages", "refused")
PROGRAMS = (
    Program("@octokit/rest", "node", ("call_octokit.mjs",), "github", _GITHUB),
    Program("PyGithub", "repositories", ("call_pygithub",), "github", _GITHUB),
    Program("python-gitlab", "repositories", ("call_gitlab",), "gitlab", ("project", "pages", "refused")),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call. said: what it returned, or its error."""

    said: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """One program, below either way the same. sent: the requests that reached the API, in their order."""

    version: str
    calls: Mapping[str, Call]
    sent: tuple[str, ...]


def read() -> dict[str, Tried]:
    """Return what is kept, by the program's name."""
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return {
        name: Tried(one["version"], {call: Call(**said) for call, said in one["calls"].items()}, tuple(one["sent"]))
        for name, one in kept.items()
    }


def broken(program: Program, tried: Tried) -> Iterator[str]:
    """Yield what is not as it has to be."""
    if tuple(tried.calls) != program.calls:
        yield f"made {list(tried.calls)}, and has {list(program.calls)}"
    for name, call in tried.calls.items():
        if name == "refused":
            if not call.is_error or REFUSED not in call.said:
                yield f"{name}: the user does not see {REFUSED!r}: {call.said}"
        elif call.is_error or call.said != EXPECTED.get(name, call.said):
            yield f"{name}: not the answer: {call.said}"


def main(arguments: list[str]) -> int:
    """Try the programs, keep what is observed with `--write`, and return the exit code."""
    api, kept = Repositories(), read()
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(api.app()) as origin,
        start(policy=_POLICY, directory=Path(directory)) as running,
    ):
        _store_keys(running, origin.replace("127.0.0.1", "localhost"))
        found = {program.name: _tried(program, api, running) for program in PROGRAMS}
    fine = {name: tried for name, tried in found.items() if tried is not None}
    different = [
        name for name, tried in fine.items() if name not in kept or tried != _with_version_of(tried, kept[name])
    ]
    sys.stderr.writelines(f"DIFFERENT: {name}: {fine[name]}\n" for name in different)
    if "--write" in arguments:
        known = kept | fine
        text = json.dumps(
            {one.name: asdict(known[one.name]) for one in PROGRAMS if one.name in known}, indent=1, ensure_ascii=False
        )
        FILE.write_text(text + "\n", encoding="utf-8")
        different = []
    return int(bool(different) or any(tried is None for tried in found.values()))


def _with_version_of(tried: Tried, kept: Tried) -> Tried:
    return Tried(tried.version, kept.calls, kept.sent)


def _store_keys(running: Running, origin: str) -> None:
    for key, value in KEYS.items():
        header = {"header": "private-token", "prefix": ""} if key == "gitlab" else {}
        answer = running.administer(
            "PUT", f"/admin/keys/{key}?probe=false", {"value": value, "origin": origin, **header}
        )
        assert answer.status in (200, 201, 204), answer


def _tried(program: Program, api: Repositories, running: Running) -> Tried | None:
    """Return what both ways came to; None, and why, if a rule is broken. What cannot be installed is a fault here."""
    try:
        command = environments.prepared(program.environment, program.script)
        ways = [_run(program, command, flags, api, running) for flags in WAYS.values()]
    except (EnvironmentUnavailableError, RuntimeError) as fault:
        sys.stderr.write(f"FAILED: {program.name}: {fault}\n")
        return None
    faults = [fault for tried in ways for fault in broken(program, tried)]
    faults += [f"went past the edge: {one}" for one in api.foreign]
    faults += [] if ways[0] == ways[1] else [f"not the same below both: {ways}"]
    sys.stderr.writelines(f"FAILED: {program.name}: {fault}\n" for fault in faults)
    return None if faults else ways[0]


def _run(program: Program, command: list[str], flags: tuple[str, ...], api: Repositories, running: Running) -> Tried:
    api.seen.clear()
    below = [str(KEYBROKER), "exec", *flags, "--key", program.key, "--", *command]
    with tempfile.TemporaryDirectory() as home:
        around = {**running.job(str(KEYBROKER.parent)), "HOME": home, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        done = subprocess.run(
            below, capture_output=True, text=True, env=around, cwd=ROOT, timeout=_SECONDS, check=False
        )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-1000:]}")
    calls = {
        one["call"]: Call(results.steady(one.get("error", one.get("said", ""))), "error" in one) for one in lines[1:]
    }
    return Tried(lines[0]["version"], calls, tuple(api.seen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
