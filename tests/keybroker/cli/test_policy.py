from __future__ import annotations

import json

from tests.keybroker.cli.canned_server import serving
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import POLICY, ROOT, Running


def test_the_printed_schema_is_the_published_one() -> None:
    """`policy schema` prints the published JSON Schema."""
    published = (ROOT / "docs/policy.schema.json").read_text()
    assert run("policy", "schema").out == published, "run `make schema`"


def test_a_policy_may_come_from_stdin(running: Running) -> None:
    """A policy may come from standard input."""
    done = run("policy", "validate", "-", environ=administrator(running), stdin=POLICY)
    assert (done.code, done.out) == (0, "valid: 2 keys, 1 issuers, 3 grants\n")


def test_a_policy_error_is_escaped(running: Running) -> None:
    """An error that quotes the policy cannot control the terminal."""
    done = run("policy", "validate", "-", environ=administrator(running), stdin='keys: {"\\e[2J": 1}\n')
    assert done.code == 1
    assert "\x1b" not in done.err


def test_a_lint_error_names_its_rule(running: Running) -> None:
    """A lint error names the rule that --allow takes."""
    unwise = POLICY.replace('claims: {repository_owner_id: "7"}', 'claims: {repository_owner_id: "9919", ref: x}')
    refused = run("policy", "validate", "-", environ=administrator(running), stdin=unwise)
    assert (refused.code, "[--allow covered]" in refused.err) == (1, True)
    assert run("policy", "validate", "-", "--allow", "covered", environ=administrator(running), stdin=unwise).code == 0


def test_a_token_is_explained(running: Running) -> None:
    """A token is explained by its issuer and principal."""
    explain = ("policy", "explain", "--token", "-", "--key", "openai")
    done = run(*explain, environ=administrator(running), stdin=running.mint("3004") + "\n")
    assert done.code == 0
    assert "admitted by  ci" in done.out
    assert "not verified" not in done.out


def test_an_explanation_shows_lists_and_hints() -> None:
    """What a list has to contain is shown in words, with the hint of a broker that sends one."""
    differences = [
        {"claim": ["a", "roles"], "wanted": [{"contains": "reporter"}, {"contains": True}], "found": ["other"]},
        {"claim": ["groups"], "wanted": ["ops"], "found": ["ops"], "hint": "a list: a grant matches it so"},
    ]
    verdict = {"grant": "g", "key": "openai", "admitted": False, "differences": differences}
    answer = {"issuer": "own", "principal": "p", "admitted": [], "unusable": "", "verified": True, "grants": [verdict]}
    text = json.dumps({**answer, "unverified_because": ""})
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-central-1"}
    with serving((head + text).encode()) as server:
        done = run("policy", "explain", "--claims", "-", environ={**environ, "KEYBROKER_URL": server.url}, stdin="{}")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()[-2:]
    assert "a.roles  contains reporter, contains True  ['other']" in first
    assert "groups   ops                               ['ops'] (a list: a grant matches it so)" in second
