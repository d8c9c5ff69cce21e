from __future__ import annotations

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
