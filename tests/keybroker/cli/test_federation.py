"""`keybroker federation …` and what `keys list` says of federated keys, over a running broker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import Running, start, wait_until
from tests.system.test_federation import POLICY

BROKEN = POLICY.replace("fdrl_practice", "fdrl_another")


@pytest.fixture(scope="module")
def federated() -> Iterator[Running]:
    """A broker with two federated keys; one provider gives credentials, the other refuses."""
    with start(policy=BROKEN) as running:
        environ = administrator(running)

        def is_settled() -> bool:
            listed = json.loads(run("--output", "json", "keys", "list", environ=environ).out)
            return any(one["expires"] for one in listed) and any(one["mint_failure"] for one in listed)

        wait_until(is_settled, 20)
        yield running


def test_one_on_trial(federated: Running) -> None:
    """A credential on trial is said to work and when it would end; a refusal is the provider's word, and what to compare."""
    environ = administrator(federated)
    works = run("federation", "test", "openai", environ=environ)
    assert (works.code, works.err.startswith("works: openai gave a credential for openai that ends in ")) == (0, True)
    denied = run("federation", "test", "anthropic", environ=environ)
    assert (denied.code, denied.out) == (3, "")
    assert "the provider refuses (authentication_error), the provider's request req_" in denied.err
    assert "compare its rule with what setup prints" in denied.err
    none = run("federation", "test", "nobody", environ=environ)
    assert (none.code, "the policy names no such key" in none.err) == (3, True)


def test_what_is_listed(federated: Running) -> None:
    """A list says that a key is minted, until when, and why one is not, in one line."""
    listed = run("keys", "list", environ=administrator(federated))
    assert listed.code == 0
    [openai] = [line for line in listed.out.splitlines() if line.startswith("openai")]
    assert "minted" in openai
    assert " ends 20" in openai
    assert "anthropic: the provider refuses (authentication_error), " in listed.err
    assert " in a row since 20" in listed.err
    assert ", the provider's request req_" in listed.err
    assert "; there is no credential; see: keybroker federation test anthropic" in listed.err


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("anthropic", '"subject_prefix": "spiffe://127.0.0.1/key/claude"'),
        ("openai", '"type": "uploaded_jwks"'),
        ("openrouter", "acts as: an API key of its own"),
        ("gemini", "--jwk-json-path=keys.json"),
        ("azure-openai", '"audiences": ["api://AzureADTokenExchange"]'),
        ("bedrock", "bedrock:CallWithBearerToken"),
        ("github-app", "keybroker state app-key FILE"),
    ],
)
def test_setup(federated: Running, provider: str, said: str) -> None:
    """What to enter at each provider is printed with the exact values, and what to write in the policy then."""
    done = run("federation", "setup", provider, "--key", "claude", environ=administrator(federated))
    assert (done.code, done.err) == (0, "")
    assert said in done.out
    assert f"  claude: {{provider: {provider}, federated: {{" in done.out
    assert "keybroker federation test claude" in done.out


def test_setup_under_another_identity(federated: Running) -> None:
    """Under AWS's identity the issuer is the account's, and our own keys are not shown to anybody."""
    done = run(
        *("--output", "json", "federation", "setup", "anthropic", "--key", "claude", "--identity", "aws-sts"),
        environ=administrator(federated),
    )
    found = json.loads(done.out)
    assert "aws iam enable-outbound-web-identity-federation" in found["steps"][0]
    assert '"type": "discovery"' in " ".join(found["steps"])
    assert "tokens.sts.global.api.aws" in " ".join(found["steps"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "--key", "x"), "provider must be one of anthropic, "),
        (("openai", "--key", "../x"), "key must be a name as in a policy"),
        (("openai", "--key", "x", "--identity", "me"), "identity must be aws-sts or broker"),
    ],
)
def test_what_cannot_be_set_up(federated: Running, arguments: tuple[str, ...], said: str) -> None:
    """An unknown provider, name or identity is said to be so."""
    done = run("federation", "setup", *arguments, environ=administrator(federated))
    assert (done.code, said in done.err) == (3, True)


def test_nothing_is_set_by_hand(federated: Running) -> None:
    """A federated key is neither set, rotated nor rolled back."""
    for command in (("rotate", "openai"), ("rollback", "openai")):
        done = run("keys", *command, environ=administrator(federated))
        assert (done.code, "has this key federated" in done.err) == (3, True), done
