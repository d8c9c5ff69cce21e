"""docs/clients.md is what was observed, of every client that is tried, with the programs that were run."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.running import ROOT
from tests.sdks import page, programs, repositories, results
from tests.sdks.cases import Outcome
from tests.sdks.clients import CLIENTS, NOTES, Client
from tests.sdks.conversation import Description
from tests.sdks.environments import HERE, requirements_of
from tests.sdks.relay import Seen
from tests.sdks.rules import broken, cases_of

KEPT = results.read()
TEXT = page.DOC.read_text(encoding="utf-8")
FOLDER = {True: "node", False: "python"}


def script(client: Client) -> str:
    node = client.environment == "node"
    return (HERE / FOLDER[node] / (client.script[0] if node else f"{client.script[0]}.py")).read_text()


def test_page_is_current() -> None:
    """If not: `python -m tests.sdks.page` writes it."""
    assert page.written(TEXT, KEPT) == TEXT


def test_every_client_has_its_row() -> None:
    """The page has a row and a recipe for each client that is tried, and for no other."""
    rows = re.findall(r"^\| (.+?) \| [\d.]+(?:, [\d.]+)? \|", TEXT, re.MULTILINE)
    assert rows == [one.name for one in (*CLIENTS, *programs.PROGRAMS)]
    sections = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
    assert sorted(sections) == sorted({client.section for client in CLIENTS}) == sorted(NOTES)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_results_break_no_rule(client: Client) -> None:
    """What is kept of a client breaks no rule."""
    assert list(broken(client, KEPT[client.name].cases)) == []


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_tried_version_is_in_range(client: Client) -> None:
    """The version that was tried has the major version that is required."""
    tried = KEPT[client.name].version
    if client.environment == "node":
        wanted = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
        names = re.findall(r'version\("([^"]+)"\)', script(client))
        majors = [wanted[name].removeprefix("^").partition(".")[0] for name in names]
    elif client.is_agent:
        needed = json.loads((HERE / "agents" / client.environment / "package.json").read_text())["dependencies"]
        majors = [one.removeprefix("^").partition(".")[0] for one in needed.values()]
    else:
        majors = re.findall(r">=(\d+)", requirements_of(client.environment).read_text())
    assert [one.partition(".")[0] for one in tried.split(", ")] == majors


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_script_has_every_way(client: Client) -> None:
    """A client's script defines every way in which the client is opened."""
    makers = {"fixed": "fixed", "refreshed": "refreshed", "proxied": "bare", "exchange": "bare"}
    made = set(re.findall(r"^(?:def|function) (\w+)\(", script(client), re.MULTILINE))
    assert {makers[way] for way in client.ways} <= made


def test_python_is_valid() -> None:
    """The page's Python parses."""
    for program in re.findall(r"```python\n(.+?)```", TEXT, re.DOTALL):
        ast.parse(program)


def test_no_token_and_no_address() -> None:
    """Neither the page nor the kept results contain a token or an address of the trial."""
    for text in (TEXT, results.FILE.read_text(), programs.FILE.read_text()):
        assert not re.search(r"eyJ|127\.0\.0\.1|localhost:|practice-real|sk-practice", text)


def test_missing_marker() -> None:
    """A page without the markers is an error."""
    with pytest.raises(ValueError, match="no place for results"):
        page.written("# Clients\n", KEPT)


@pytest.mark.parametrize("program", programs.PROGRAMS, ids=lambda program: program.name)
def test_programs_break_no_rule(program: programs.Program) -> None:
    """What is kept of a program below exec breaks no rule, and its three pages reached the API."""
    tried = programs.read()[program.name]
    assert list(programs.broken(program, tried)) == []
    assert len([one for one in tried.sent if one.endswith("/issues")]) == repositories.PAGES


# Rules can be broken


@pytest.mark.parametrize(
    ("call", "said", "is_error", "fault"),
    [
        ("branch", "E: 400 the path has more than one reading", True, "branch: not the answer"),
        ("pages", "[1]", False, "pages: not the answer: [1]"),
        ("refused", "HttpError: 403", True, "refused: the user does not see"),
    ],
)
def test_a_program_breaks_a_rule(call: str, said: str, is_error: bool, fault: str) -> None:  # noqa: FBT001  a parameter
    """A program that gets another answer breaks exactly the rule about that call."""
    program = programs.PROGRAMS[0]
    tried = programs.read()[program.name]
    spoilt_calls = {**tried.calls, call: programs.Call(said, is_error)}
    (told,) = programs.broken(program, replace(tried, calls=spoilt_calls))
    assert told.startswith(fault)


def spoilt(case: str, **changes: Any) -> Mapping[str, results.Record]:  # noqa: ANN401  a record's members
    cases = KEPT["openai 3"].cases
    return {**cases, case: replace(cases[case], **changes)}


@pytest.mark.parametrize(
    ("case", "changes", "fault"),
    [
        ("plain", {"said": "something else"}, "not the answer"),
        ("proxied", {"is_error": True}, "not the answer"),
        ("streamed", {"pieces": 1}, "not the answer in pieces"),
        ("refused", {"said": "Error code: 403"}, "the user does not see 'the token does not open POST '"),
        ("revoked", {"statuses": (403, 403)}, "not 1 to 1 requests that are answered 403"),
        ("quota", {"statuses": (429,) * 4}, "not 1 to 3 requests that are answered 429"),
        ("minute", {"statuses": (429,)}, "neither an answer in the next minute nor"),
        ("expired", {"statuses": (200,)}, "not 1 to 1 requests that are answered 401"),
        ("no_more", {"statuses": (403,)}, "not the broker's refusal, and nothing sent"),
    ],
)
def test_different_behaviour_breaks_a_rule(case: str, changes: dict[str, Any], fault: str) -> None:
    """A client that behaves differently breaks exactly the rule about that case."""
    (told,) = broken(CLIENTS[0], spoilt(case, **changes))
    assert told.startswith(f"{case}: {fault}")


def test_missing_case_breaks_a_rule() -> None:
    """A case that was left out breaks a rule."""
    without = {case: one for case, one in KEPT["openai 3"].cases.items() if case != "revoked"}
    assert any("played" in told for told in broken(CLIENTS[0], without))


@pytest.mark.parametrize(("statuses", "fine"), [((401, 401), True), ((), True), ((200,), False), ((401, 403), False)])
def test_an_agent_without_a_token(statuses: tuple[int, ...], fine: bool) -> None:  # noqa: FBT001  a parameter
    """A coding assistant may go on without a token, which opens nothing."""
    (client,) = (one for one in CLIENTS if one.name == "Codex")
    cases = KEPT[client.name].cases
    told = list(broken(client, {**cases, "no_more": replace(cases["no_more"], statuses=statuses)}))
    assert (told == []) is fine


def test_no_refresh_no_case() -> None:
    """A client that cannot refresh has no case for refreshing."""
    (client,) = (one for one in CLIENTS if one.name == "litellm, gemini")
    assert set(cases_of(CLIENTS[0])) - set(cases_of(client)) == {"refreshed", "no_more"}


# What is kept is the same from run to run


def test_variable_parts_are_not_kept() -> None:
    """What differs from run to run (ids, headers, seconds) is not kept."""
    request = "5cf1d720d995bf8b9a822d7863b963ba"
    said = Description(
        error=f"E: headers: {{'date': 'now', 'a': 'b'}}, status_code: 403: ends in 31 s\n(request {request})"
    )
    calls = (Seen("POST", "/k/v1/oauth/token", 200, ()), Seen("POST", "/k/v1/messages", 403, ("x-api-key",)))
    kept = results.record(Outcome(said, calls, 7.0))
    assert kept.said == "E: headers: {…}, status_code: 403: ends in N s (request REQUEST)"
    assert (kept.statuses, kept.token_in, kept.wait) == ((403,), ("x-api-key",), "")
    assert results.record(Outcome(Description(error="E: ends in 9 h"), calls, 7.0)).said == "E: ends in N h"


@pytest.mark.parametrize(("seconds", "told"), [(3.0, ""), (6.1, "some seconds"), (120.2, "about 2 min")])
def test_wait_is_rounded(seconds: float, told: str) -> None:
    """How long several requests took is kept roughly."""
    calls = (Seen("POST", "/openai/v1/responses", 429, ()),) * 3
    assert results.record(Outcome(Description(error="E"), calls, seconds)).wait == told


def test_environments_match_requirements() -> None:
    """Each environment has its file of requirements, and each such file a client."""
    there = {path.stem for path in (HERE / "requirements").glob("*.txt")}
    agents = {path.parent.name for path in (HERE / "agents").glob("*/package.json")}
    assert agents == {client.environment for client in CLIENTS if client.is_agent}
    used = {one.environment for one in (*CLIENTS, *programs.PROGRAMS)}
    assert there == used - agents - {"node"}
    assert (ROOT / "tests/sdks/node/package.json").is_file()
