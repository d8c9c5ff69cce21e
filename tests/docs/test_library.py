"""The programs of README.md and docs/library.md run as they stand there; the page's tables name what there is."""

from __future__ import annotations

import functools
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import keybroker
from keybroker import ambient
from tests.running import ROOT, Running, call, start
from tests.scripted_broker import IDENTITY_VARIABLES

pytestmark = pytest.mark.slow  # programs of their own

PAGE = (ROOT / "docs" / "library.md").read_text()
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = PYTHON.findall(PAGE)
(README_PROGRAM,) = PYTHON.findall((ROOT / "README.md").read_text())
PYTHONS = [Path(sys.executable), *sorted(ROOT.glob(".venv-sdk-*/bin/python"), reverse=True)]
"""This environment, and those that `make test-sdks` makes: programs whose SDK is in none of them are skipped."""
POLICY = """\
keys:
  openai:    {provider: openai}
  anthropic: {provider: anthropic}
  gemini:    {provider: gemini}
  mistral:   {provider: mistral}
  cohere:    {provider: cohere}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
""" + "".join(
    f"""\
  {key}-ci:
    key: {key}
    to: {{issuer: practice, claims: {{repository_owner_id: "9919"}}}}
    scope: [{scope}]
    quota: {{tokens: 1000/hour, calls: [100000/minute]}}
"""
    for key, scope in {
        "openai": '"POST:/v1/chat/completions", "POST:/v1/responses", "GET:/v1/models"',
        "anthropic": '"POST:/v1/messages"',
        "gemini": '"POST:/v1beta/models/gemini-2.5-flash:generateContent", "POST:/v1/models/gemini-2.5-flash:generateContent"',
        "mistral": '"POST:/v1/chat/completions"',
        "cohere": '"POST:/v2/chat"',
    }.items()
)


@pytest.fixture(scope="module")
def job() -> Iterator[tuple[Running, dict[str, str]]]:
    """A running broker with all the page's keys, and the environment of a GitHub Actions job beside it."""
    with start(policy=POLICY) as running:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(IDENTITY_VARIABLES)}
        environ |= {"PYTHONPATH": str(ROOT), "KEYBROKER_URL": running.broker, "GITHUB_ACTIONS": "true"}
        environ["ACTIONS_ID_TOKEN_REQUEST_URL"] = f"{running.issuer}/_runner/token?api-version=2.0"
        environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = running.request_token
        yield running, environ


def name_of(program: str) -> str:
    imported = [name for name in re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE) if name != "keybroker"]
    return "-".join(imported) or "keybroker"


@functools.cache
def python_for(program: str) -> Path | None:
    """Return an interpreter that has all that a program imports, None if there is none."""
    names = sorted(set(re.findall(r"^(?:import|from) ([\w.]+)", program, re.MULTILINE)))
    look = f"from importlib.util import find_spec as find; import sys; sys.exit(not all(map(find, {names!r})))"
    for python in PYTHONS:
        done = subprocess.run([str(python), "-c", look], cwd=ROOT, capture_output=True, check=False, timeout=60)
        if done.returncode == 0:
            return python
    return None


def check_program(program: str, job: tuple[Running, dict[str, str]]) -> None:
    """Run a program; if it calls through the edge, the provider must have seen a real key and no token."""
    python = python_for(program)
    if python is None:
        pytest.skip(f"{name_of(program)} is not installed (make test-sdks): a program of the documentation was NOT run")
    running, environ = job
    call("DELETE", f"{running.provider}/_seen")
    done = subprocess.run([str(python), "-c", program], env=environ, capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout or "revoke()" in program
    if "base_url=" in program or "base_url}" in program:
        (seen,) = call("GET", f"{running.provider}/_seen").json["seen"]
        assert "sk-practice-" in str(seen["headers"]), "the provider saw the real key"
        assert "eyJ" not in str(seen["headers"]), "and no token"
        assert "unused" not in str(seen["headers"])


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_program_runs(program: str, job: tuple[Running, dict[str, str]]) -> None:
    """Every program of docs/library.md runs as it stands there."""
    check_program(program, job)


def test_readme_program_runs(job: tuple[Running, dict[str, str]]) -> None:
    """The README's program runs as it stands there, with this broker's URL in place of the example's."""
    assert README_PROGRAM.count("https://broker.example.com") == 1
    check_program(README_PROGRAM.replace("https://broker.example.com", job[0].broker), job)


def test_refusal_output(job: tuple[Running, dict[str, str]]) -> None:
    """The page shows a refusal as the program prints it."""
    (program,) = (one for one in PROGRAMS if "except keybroker.Refused" in one)
    shown = PAGE.split(program)[1].split("```text\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", program], env=job[1], capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    form = re.escape(shown).replace("…", r"[^\n]+")
    assert re.fullmatch(form, done.stdout), done.stdout


def test_sources_in_order() -> None:
    """The page names every identity source, in the order in which they are tried."""
    assert re.findall(r"^\| `([\w-]+)` \| [^|]+ \| [^|]+ \|$", PAGE.split("## Who the program is")[1], re.MULTILINE)[
        : len(ambient.SOURCES) + len(ambient.ON_REQUEST)
    ] == [*ambient.SOURCES, *ambient.ON_REQUEST]


def test_settings_and_defaults() -> None:
    """The page names every setting of TokenProvider, with its default."""
    signature = inspect.signature(keybroker.TokenProvider)
    assert f"TokenProvider({', '.join(f'{one.name}' if one.default is one.empty else f'{one.name}={one.default!r}' for one in signature.parameters.values()).replace(', grant', ', *, grant')})" in PAGE  # fmt: skip
    table = PAGE.split("| Setting |")[1].split("## For each SDK")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(signature.parameters)


def test_public_names() -> None:
    """The page names everything that keybroker exports."""
    for name in set(keybroker.__all__) - {"Identity", "Token"}:
        assert re.search(rf"\b{name}\b", PAGE), name


def test_installed_sdks_are_not_skipped() -> None:
    """The programs for the SDKs that the project installs are never skipped."""
    ran = [name_of(program) for program in PROGRAMS if python_for(program) == Path(sys.executable)]
    assert {"openai", "asyncio-openai", "anthropic", "httpx"} <= set(ran)
