from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chalicelib.audit import Event, Query
from chalicelib.http.messages import ADMIN_BODY_LIMIT
from chalicelib.policy import lint
from local.__main__ import main
from local.machine import Machine
from local.urls import Urls
from tests.parts import mint
from tests.running import POLICY, ROOT, Running

BROKEN = """\
keys:
  openai: {provider: opneai}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  app:
    key: openai
    to: {issuer: practice, claims: {repository_id: "1234"}}
    scope: ["GET:/v1/models"]
    ttl: 2h
"""
UNWISE = POLICY.replace('claims: {repository_owner_id: "7"}', "claims: {ref: refs/heads/main}")
ISSUER = "http://127.0.0.1:9"  # nobody answers there


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with POLICY in force, of a Keybroker that does not run now."""
    directory = tmp_path / "state"
    policy = write(tmp_path, "in-force.yaml", POLICY)
    urls = Urls("http://127.0.0.1:7", "http://127.0.0.1:8", "http://127.0.0.1:9", ISSUER)
    Machine(directory, urls).prepare(policy, {"openai": "sk-o", "anthropic": "sk-a", "generic": "sk-g"})
    return directory


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Ended:
    """Run `python -m local policy …` in this process, which is quicker; what it does not catch fails the test."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = main(["policy", *map(str, arguments)])
        except SystemExit as end:  # argparse
            code = int(str(end.code))
    return Ended(code, out.getvalue(), err.getvalue())


def as_a_user(*arguments: object) -> Ended:
    """Run it as a user does."""
    command = [sys.executable, "-m", "local", "policy", *map(str, arguments)]
    one = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return Ended(one.returncode, one.stdout, one.stderr)


def done(*arguments: object) -> Any:  # noqa: ANN401  JSON
    """Run it and return what it printed: data on stdout, nothing else anywhere."""
    one = run(*arguments)
    assert (one.returncode, one.stderr) == (0, ""), one
    return json.loads(one.stdout)


def failed(*arguments: object) -> list[str]:
    """Run it and return the lines on stderr, each with `error: ` in front; stdout stays empty."""
    one = run(*arguments)
    assert (one.returncode, one.stdout) == (1, ""), one
    lines = one.stderr.splitlines()
    assert lines
    assert all(line.startswith("error: ") for line in lines), one.stderr
    return [line.removeprefix("error: ") for line in lines]


def version(state: Path) -> int:
    return Machine.open(state).control().current().version


# validate


def test_validate_says_what_is_there_without_any_state(tmp_path: Path) -> None:
    assert done("validate", write(tmp_path, "p.yaml", POLICY)) == {"keys": 2, "issuers": 1, "grants": 3}


def test_validate_prints_every_fault(tmp_path: Path) -> None:
    """`validate` prints every fault with its file and line."""
    path = write(tmp_path, "p.yaml", BROKEN)
    lines = failed("validate", path)
    places = [line.removeprefix(f"{path}:").split(": ")[:2] for line in lines]
    assert places == [["2", "keys.openai.provider"], ["6", "grants.app"], ["10", "grants.app.ttl"]]
    assert "found 'opneai'" in lines[0]
    assert "allowed: one of openai, anthropic" in lines[0]
    assert "allowed: 5m to 1h" in lines[2]


def test_validate_prints_what_is_unwise_with_its_rule(tmp_path: Path) -> None:
    path = write(tmp_path, "p.yaml", UNWISE)
    [line] = failed("validate", path)
    number = next(n for n, text in enumerate(UNWISE.splitlines(), 1) if "refs/heads/main" in text)
    assert line.startswith(f"{path}:{number}: grants.small.to.claims: ")
    assert line.endswith(" [unpinned]")
    assert done("validate", path, "--allow", "unpinned")["grants"] == 3


def test_a_fault_of_the_whole_file_has_a_place_too(tmp_path: Path) -> None:
    path = write(tmp_path, "p.yaml", "")
    assert failed("validate", path) == [f"{path}:1: file: found nothing, allowed: keys, issuers and grants"]


def test_unknown_rule_is_a_usage_error(tmp_path: Path) -> None:
    """An unknown lint rule is a usage error."""
    one = run("validate", write(tmp_path, "p.yaml", POLICY), "--allow", "everything")
    assert (one.returncode, one.stdout) == (2, "")
    assert all(rule in one.stderr for rule in lint.RULES)


@pytest.mark.parametrize("verb", ["validate", "plan", "apply", "replay"])
def test_a_file_that_is_not_there_is_named(state: Path, tmp_path: Path, verb: str) -> None:
    more = () if verb == "validate" else ("--state", state)
    [line] = failed(verb, tmp_path / "none.yaml", *more)
    assert line == f"[Errno 2] No such file or directory: '{tmp_path / 'none.yaml'}'"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert failed("validate", tmp_path) == [f"[Errno 21] Is a directory: '{tmp_path}'"]
    (tmp_path / "latin").write_bytes(b"keys: \xe9\n")
    [line] = failed("validate", tmp_path / "latin")
    assert line.startswith(f"{tmp_path / 'latin'}: not UTF-8: ")
    (tmp_path / "binary").write_bytes(b"keys: \x00\n")
    [line] = failed("validate", tmp_path / "binary")
    assert line.startswith(f"{tmp_path / 'binary'}:1: file: found the character U+0000")


def test_a_file_that_is_too_large_is_not_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(POLICY.encode() + b"#" * (ADMIN_BODY_LIMIT + 1 - len(POLICY.encode())))
    assert failed("validate", path) == [f"{path}: over {ADMIN_BODY_LIMIT} bytes"]


# plan and apply


def test_plan_says_what_would_change_and_apply_does_it(state: Path, tmp_path: Path) -> None:
    text = POLICY.replace("quota: {tokens: [3/day], calls: [5/day]}", "quota: {tokens: [2/day], calls: [5/day]}")
    path, before = write(tmp_path, "p.yaml", text), version(state)
    plan = done("plan", path, "--state", state)
    assert plan["version"] == before == version(state)
    assert [(one["what"], one["name"], one["change"]) for one in plan["changes"]] == [("grant", "small", "narrow")]
    assert done("apply", path, "--state", state) == {"version": before + 1}
    assert done("plan", path, "--state", state) == {"version": before + 1, "changes": []}
    event = Machine.open(state).ledger().page(Query({"kind": "policy.applied"})).events[0]
    assert (event.actor, event.detail) == ("this machine", {"file": str(path)})


@pytest.mark.parametrize("verb", ["plan", "apply", "replay"])
def test_a_policy_with_faults_changes_nothing(state: Path, tmp_path: Path, verb: str) -> None:
    before = version(state)
    assert len(failed(verb, write(tmp_path, "p.yaml", BROKEN), "--state", state)) == 3
    [unwise] = failed(verb, write(tmp_path, "u.yaml", UNWISE), "--state", state)
    assert unwise.endswith(" [unpinned]")
    assert version(state) == before


def test_what_is_unwise_is_applied_when_it_is_allowed(state: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "u.yaml", UNWISE)
    assert done("apply", path, "--state", state, "--allow", "unpinned") == {"version": version(state)}


@pytest.mark.parametrize("verb", ["plan", "apply", "replay", "explain"])
def test_a_state_directory_that_is_not_there_is_said(tmp_path: Path, verb: str) -> None:
    given = ["--claims", write(tmp_path, "c.json", "{}")] if verb == "explain" else [write(tmp_path, "p.yaml", POLICY)]
    [line] = failed(verb, *given, "--state", tmp_path / "none")
    assert line.startswith("cannot use the state directory: no_state_directory ([Errno 2] No such file or directory")
    assert not (tmp_path / "none").exists()


def test_state_directory_without_state_file(state: Path, tmp_path: Path) -> None:
    """A state directory without its state file is an error, and nothing is created."""
    for file in state.glob("state.db*"):
        file.unlink()
    [line] = failed("apply", write(tmp_path, "p.yaml", POLICY), "--state", state)
    assert line.startswith("cannot use the state directory: state_unavailable (")
    assert not (state / "state.db").exists()


@pytest.mark.parametrize("verb", ["plan", "apply", "replay"])
def test_the_state_directory_has_to_be_named(tmp_path: Path, verb: str) -> None:
    one = run(verb, write(tmp_path, "p.yaml", POLICY))
    assert (one.returncode, one.stdout) == (2, "")
    assert "--state" in one.stderr


# explain and replay


CLAIMS = {
    "iss": ISSUER,
    "aud": "keybroker",
    "jti": "1",
    "repository": "octo-org/app",
    "repository_id": "1234",
    "repository_owner_id": "9919",
    "event_name": "push",
}


def test_explain_names_grants_and_differences(state: Path, tmp_path: Path) -> None:
    """`explain` says which grant admits the claims, and why the others do not."""
    path = write(tmp_path, "claims.json", json.dumps(CLAIMS))
    found = done("explain", "--claims", path, "--state", state)
    assert (found["verified"], found["admitted"]) == (False, ["ci", "claude"])
    small = next(one for one in found["grants"] if one["grant"] == "small")
    assert small["differences"] == [{"claim": ["repository_owner_id"], "wanted": ["7"], "found": "9919"}]
    assert done("explain", "--claims", path, "--state", state, "--key", "anthropic")["admitted"] == ["claude"]


def test_explain_without_the_issuer(state: Path, tmp_path: Path) -> None:
    """A token whose issuer does not respond is explained as not verified."""
    path = write(tmp_path, "token", f"{mint(issuer=ISSUER)}\n")
    found = done("explain", "--token", path, "--state", state)
    assert (found["verified"], found["admitted"]) == (False, ["ci", "claude"])
    assert found["unverified_because"] == "issuer_keys_unavailable"


def test_explain_verifies_the_token(running: Running, tmp_path: Path) -> None:
    """`explain` verifies a token while its issuer runs."""
    path = write(tmp_path, "token", f"{running.mint('7701')}\n")
    found = done("explain", "--token", path, "--state", running.state)
    assert (found["verified"], found["unverified_because"]) == (True, "")
    assert found["principal"] == running.sub("7701")
    head, payload, signature = path.read_text().strip().split(".")
    forged = write(tmp_path, "forged", f"{head}.{payload}.{'A' * len(signature)}")
    found = done("explain", "--token", forged, "--state", running.state)
    assert (found["verified"], found["unverified_because"]) == (False, "signature_wrong")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: "),
        ("{", "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ('{"a": NaN}', "not JSON: NaN is not a JSON number"),
    ],
    ids=lambda one: one[:9],
)
def test_claims_that_are_not_json_are_said(state: Path, tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "claims.json", text)
    [line] = failed("explain", "--claims", path, "--state", state)
    assert line.startswith(f"{path}: {message}")


def test_claims_with_one_twice_are_refused(state: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "claims.json", '{"ref": "a", "ref": "b"}')
    assert failed("explain", "--claims", path, "--state", state) == [f"{path}: a parameter was sent twice"]


def test_claims_that_are_no_object_are_said(state: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "claims.json", "[]")
    assert failed("explain", "--claims", path, "--state", state) == [
        "the body must be an object with either claims (an object) or token, and optionally key"
    ]


def test_explain_takes_either_a_token_or_claims(state: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "claims.json", "{}")
    for given in ((), ("--claims", path, "--token", path)):
        one = run("explain", *given, "--state", state)
        assert (one.returncode, one.stdout) == (2, "")


def test_replay_says_what_the_audit_s_claims_would_get(state: Path, tmp_path: Path) -> None:
    event = Event(
        id="1", at=1, kind="token.issued", request_id="r", key="openai", grant="ci", principal="x", claims=CLAIMS
    )
    Machine.open(state).ledger().record(event)
    path = write(tmp_path, "p.yaml", POLICY.replace('"9919"', '"8"'))
    assert done("replay", path, "--state", state) == {
        "complete": True,
        "tried": 1,
        "newly_admitted": [],
        "newly_refused": [
            {"principal": f"{ISSUER}|repository_id:1234", "key": "openai", "before": ["ci"], "after": []}
        ],
        "newly_ambiguous": [],
    }


# schema


def test_the_schema_is_json_schema_of_the_file() -> None:
    made = done("schema")
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "github-actions" in json.dumps(made)


@pytest.mark.slow
def test_each_verb_runs_as_a_user_runs_it(running: Running, tmp_path: Path) -> None:
    good, bad = write(tmp_path, "p.yaml", POLICY), write(tmp_path, "b.yaml", BROKEN)
    token = write(tmp_path, "token", running.mint("7702"))
    for arguments in (
        ("validate", good),
        ("plan", good, "--state", running.state),
        ("replay", good, "--state", running.state),
        ("explain", "--token", token, "--state", running.state),
        ("apply", good, "--state", running.state),
    ):
        one = as_a_user(*arguments)
        assert (one.returncode, one.stderr) == (0, ""), one
        assert json.loads(one.stdout)
    for arguments in (("validate", bad), ("apply", bad, "--state", running.state), ("plan", good, "--state", tmp_path)):
        one = as_a_user(*arguments)
        assert (one.returncode, one.stdout) == (1, "")
        assert all(line.startswith("error: ") for line in one.stderr.splitlines())
    assert running.complete(running.token("7702")).status == 200


def test_a_reader_that_stops_early_is_no_traceback() -> None:
    command = f"{sys.executable} -m local policy schema | head -c 1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("{", "")


def test_a_verb_has_to_be_named() -> None:
    one = run()
    assert (one.returncode, one.stdout) == (2, "")
    assert "validate" in one.stderr
