from __future__ import annotations

from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import POLICY, ROOT, Running


def test_the_schema_that_is_printed_is_the_published_one() -> None:
    published = (ROOT / "docs/policy.schema.json").read_text()
    assert run("policy", "schema").out == published, "run `make schema`"


def test_a_policy_may_come_from_standard_input(running: Running) -> None:
    done = run("policy", "validate", "-", environ=administrator(running), stdin=POLICY)
    assert (done.code, done.out) == (0, "valid: 2 keys, 1 issuers, 3 grants\n")


def test_a_fault_in_a_policy_cannot_repaint_the_terminal(running: Running) -> None:
    done = run("policy", "validate", "-", environ=administrator(running), stdin='keys: {"\\e[2J": 1}\n')
    assert done.code == 1
    assert "\x1b" not in done.err


def test_a_lint_rule_is_named_with_what_passes_over_it(running: Running) -> None:
    unwise = POLICY.replace('claims: {repository_owner_id: "7"}', 'claims: {repository_owner_id: "9919", ref: x}')
    refused = run("policy", "validate", "-", environ=administrator(running), stdin=unwise)
    assert (refused.code, "[--allow covered]" in refused.err) == (1, True)
    assert run("policy", "validate", "-", "--allow", "covered", environ=administrator(running), stdin=unwise).code == 0


def test_a_token_is_explained_by_who_it_is(running: Running) -> None:
    explain = ("policy", "explain", "--token", "-", "--key", "openai")
    done = run(*explain, environ=administrator(running), stdin=running.mint("3004") + "\n")
    assert done.code == 0
    assert "admitted by  ci" in done.out
    assert "not verified" not in done.out
