"""The minter's template: what there is by choice, what its role may do and must not, who uses its keys, and what is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chalicelib.aws.kms_means import app_alias
from chalicelib.aws.minted_keys import kms_alias
from chalicelib.aws.minter import MinterConfig
from chalicelib.federation import anthropic, azure, google, openai, openrouter
from infra import package
from infra.edge.wheels import PYTHON
from tests.alarms import alarms
from tests.cloudformation import ACCOUNT, REGION, resolved, template
from tests.iam_policy import Context, allows
from tests.infra.test_watch_template import event, matches, rules
from tests.running import ROOT

TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/keybroker-"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/"
CONTROL, LEDGER, MINTED = f"{TABLE}control", f"{TABLE}ledger", f"{KEY}minted"
ISSUERS = [f"{KEY}elliptic", f"{KEY}rsa"]
BEDROCK = f"arn:aws:iam::{ACCOUNT}:role/bedrock"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/keybroker-"
ON: Mapping[str, Any] = {
    "Enabled": "true",
    "TablesKey": f"{KEY}tables",
    "MintedKey": MINTED,
    "Url": "https://broker.example.com",
    "Topic": "arn:topic",
}
ALL = {**ON, "FederationKeys": ISSUERS, "BedrockRoles": [BEDROCK]}
OF_MINTED: Context = {"kms:EncryptionContext:keybroker": ("minted",)}
RS256: Context = {"kms:SigningAlgorithm": ("RSASSA_PKCS1_V1_5_SHA_256",)}
NONE: Context = {}
RUNBOOKS = {"credential-ends", "mint-denied", "minter-silent"}


def resources(chosen: Mapping[str, Any] = ALL) -> dict[str, Any]:
    return dict(resolved(template("minter"), **chosen))


def may(action: str, on: str, *keys: str, context: Context = NONE, chosen: Mapping[str, Any] = ALL) -> bool:
    policies = [one["PolicyDocument"] for one in resources(chosen)["Role"]["Properties"]["Policies"]]
    return allows(policies, action, on, {**context, **({"dynamodb:LeadingKeys": keys} if keys else {})})


def test_all_of_it_is_off_unless_it_is_asked_for() -> None:
    """Without a choice there is no function, no role and no alarm, and there are no keys of it."""
    assert resources({}).keys() == {"Log"}
    assert alarms("minter").keys() == set()
    made = set(resolved(template("keys")))
    assert set(resolved(template("keys"), Minter="true")) - made == {"MintedKey", "MintedKeyAlias"}
    assert set(resolved(template("keys"), Issuer="true")) - made == {"FederationKeyElliptic", "FederationKeyRsa"}


# What its role may do


def test_what_it_needs_it_may_do() -> None:
    for key in ("key#openai#0", "mint-notes", "federation", "policy", "policy#names#3"):
        assert may("dynamodb:BatchGetItem", CONTROL, key)
    assert may("dynamodb:PutItem", CONTROL, "minted#openai")
    assert may("dynamodb:UpdateItem", CONTROL, *(f"key#openai#{copy}" for copy in "0123456789abcdef"))
    assert may("dynamodb:UpdateItem", CONTROL, "federation")
    assert may("dynamodb:UpdateItem", CONTROL, "mint-notes")
    assert may("dynamodb:PutItem", LEDGER, "audit#2026-11#0")
    assert may("kms:GenerateDataKey", MINTED, context=OF_MINTED)
    assert may("sts:AssumeRole", BEDROCK)
    for one in ISSUERS:
        assert may("kms:Sign", one)
        assert may("kms:GetPublicKey", one)


@pytest.mark.parametrize(
    ("action", "on", "keys"),
    [
        *((f"dynamodb:{one}", CONTROL, ("minted#openai",)) for one in ("GetItem", "Query", "UpdateItem", "DeleteItem")),
        *(
            (f"dynamodb:{one}", CONTROL, (key,))
            for one in ("PutItem", "UpdateItem", "DeleteItem")
            for key in ("policy", "grant#app#0", "everything#*#0", "signing", "revocations", "principal#a", "token#a")
        ),
        *((f"dynamodb:{one}", CONTROL, ("key#openai#0",)) for one in ("PutItem", "DeleteItem")),
        ("dynamodb:DeleteItem", CONTROL, ("mint-notes",)),
        ("dynamodb:PutItem", CONTROL, ("minted#openai", "signing")),
        ("dynamodb:UpdateItem", CONTROL, ("key#openai#0", "grant#app#0")),
        ("dynamodb:PutItem", CONTROL, ()),
        ("dynamodb:Scan", CONTROL, ()),
        *((f"dynamodb:{one}", LEDGER, ("audit#2026-11#0",)) for one in ("GetItem", "UpdateItem", "DeleteItem")),
        *((f"dynamodb:{one}", LEDGER, (key,)) for one in ("PutItem", "UpdateItem") for key in ("lock#0", "chain#audit", "pin#a", "tokens#a")),
        *((f"dynamodb:{one}", f"{TABLE}counters", ("calls#a#b",)) for one in ("GetItem", "PutItem", "UpdateItem")),
        *(("kms:Sign", f"{KEY}{one}", ()) for one in ("signing-a", "signing-b", "minted", "tables")),
        *((f"kms:{one}", MINTED, ()) for one in ("Decrypt", "Encrypt", "GenerateDataKey", "CreateGrant", "PutKeyPolicy")),
        *((f"secretsmanager:{one}", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:keybroker/openai-AbCdEf", ()) for one in ("GetSecretValue", "PutSecretValue")),
        ("sts:AssumeRole", f"{ROLE}admin", ()),
        ("sts:TagGetWebIdentityToken", "*", ()),
        ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:keybroker-admin", ()),
    ],
)  # fmt: skip
def test_what_it_must_not_do_it_may_not(action: str, on: str, keys: tuple[str, ...]) -> None:
    """It signs no token of a caller's, changes nothing that is revoked or granted, and opens nothing, its own included."""
    assert not may(action, on, *keys)
    if on == MINTED and action != "kms:GenerateDataKey":
        assert not may(action, on, context=OF_MINTED)


def test_aws_vouches_to_providers_alone() -> None:
    """An assertion of AWS's is for the providers' audiences, each as its exchange asks for it, and for nobody else."""
    pool = google.resource("123456", "pool", "keybroker")
    of_providers = [one.AUDIENCE for one in (anthropic, openai, openrouter, azure)] + [f"https:{pool}"]
    for one in of_providers:
        assert may("sts:GetWebIdentityToken", "*", context={"sts:IdentityTokenAudience": (one,)})
    for other in ("https://evil.example", "sts.amazonaws.com", f"https://evil.example/{pool}"):
        assert not may("sts:GetWebIdentityToken", "*", context={"sts:IdentityTokenAudience": (other,)})
        assert not may("sts:GetWebIdentityToken", "*", context={"sts:IdentityTokenAudience": (of_providers[0], other)})
    assert not may("sts:GetWebIdentityToken", "*")


def test_an_app_s_key_is_used_by_its_alias() -> None:
    """With a key under another alias, or with another algorithm, nothing is signed."""
    ours: Context = {"kms:ResourceAliases": (app_alias("keybroker", "Iv23.abc"),)}
    assert may("kms:Sign", f"{KEY}app", context={**ours, **RS256})
    assert not may("kms:Sign", f"{KEY}app", context=ours)
    for alias in ("alias/another", app_alias("keybroker2", "Iv23.abc"), "alias/keybroker-minted"):
        assert not may("kms:Sign", f"{KEY}app", context={"kms:ResourceAliases": (alias,), **RS256})


def test_without_an_issuer_of_our_own_it_signs_nothing() -> None:
    """Nor assumes a role that nobody named."""
    for one in ISSUERS:
        assert not may("kms:Sign", one, chosen=ON)
    assert not may("sts:AssumeRole", BEDROCK, chosen=ON)


# Who uses the keys


def key_may(key: str, action: str, principal: str, context: Context, **chosen: str) -> bool:
    found = resolved(template("keys"), Minter="true", Issuer="true", **chosen)[key]["Properties"]["KeyPolicy"]
    return allows([found], action, "*", {"aws:PrincipalArn": [f"{ROLE}{principal}"], **context})


def test_only_the_minter_seals_and_only_the_edge_opens() -> None:
    """Whatever the account's policies say, and for minted values alone."""
    for role in ("minter", "edge", "gateway", "admin", "public", "deployer"):
        for action, who in (("GenerateDataKey", "minter"), ("Decrypt", "edge"), ("Encrypt", "")):
            assert key_may("MintedKey", f"kms:{action}", role, OF_MINTED) is (role == who)
            assert not key_may("MintedKey", f"kms:{action}", role, NONE)
            assert not key_may("MintedKey", f"kms:{action}", role, {"kms:EncryptionContext:keybroker": ("other",)})
        assert not key_may("MintedKey", "kms:CreateGrant", role, NONE)
    assert key_may("MintedKey", "kms:Decrypt", "gateway", OF_MINTED, Gateway="true")
    alias = resolved(template("keys"), Minter="true")["MintedKeyAlias"]["Properties"]["AliasName"]
    assert alias == kms_alias("keybroker"), "the edge names the key by it"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [("FederationKeyElliptic", "ECDSA_SHA_256"), ("FederationKeyRsa", "RSASSA_PKCS1_V1_5_SHA_256")],
)
def test_only_the_minter_signs_assertions(key: str, algorithm: str) -> None:
    """With a key's one algorithm; nobody who signs callers' tokens does, and the minter with none of theirs."""
    named: Context = {"kms:SigningAlgorithm": (algorithm,)}
    for role in ("minter", "public", "broker", "admin", "edge", "deployer"):
        assert key_may(key, "kms:Sign", role, named) is (role == "minter")
        assert not key_may(key, "kms:Sign", role, {"kms:SigningAlgorithm": ("RSASSA_PSS_SHA_256",)})
        assert not key_may(key, "kms:CreateGrant", role, NONE)
    for ours in ("SigningKeyA", "SigningKeyB"):
        assert not key_may(ours, "kms:Sign", "minter", {"kms:SigningAlgorithm": ("ECDSA_SHA_256",)})


@pytest.mark.parametrize(("name", "role"), [("edge", "Role"), ("gateway-role", "Role")])
def test_the_edge_opens_minted_values(name: str, role: str) -> None:
    """Where there is a minter, and nothing else with its key."""
    given = {"HomeRegion": REGION} if name == "edge" else {}
    found = resolved(template(name), MintedKey=MINTED, **given)[role]["Properties"]["Policies"]
    policies = [one["PolicyDocument"] for one in found]
    assert allows(policies, "kms:Decrypt", MINTED, OF_MINTED)
    assert not allows(policies, "kms:Decrypt", MINTED)
    assert not allows(policies, "kms:GenerateDataKey", MINTED, OF_MINTED)
    assert not allows(policies, "dynamodb:PutItem", CONTROL, {"dynamodb:LeadingKeys": ("minted#openai",)})
    without = [one["PolicyDocument"] for one in resolved(template(name), **given)[role]["Properties"]["Policies"]]
    assert not allows(without, "kms:Decrypt", MINTED, OF_MINTED)


@pytest.mark.parametrize("key", ["minted#openai", "federation"])
def test_the_administration_mints_and_publishes_nothing(key: str) -> None:
    """It may ask the minter for a trial where there is one, and write neither minted values nor the issuer's keys."""

    def policies(**chosen: str) -> list[Any]:
        found = resolved(template("admin"), **chosen)["ApiHandlerRole"]["Properties"]["Policies"]
        return [one["PolicyDocument"] for one in found]

    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:keybroker-minter"
    assert allows(policies(Minter="true"), "lambda:InvokeFunction", function)
    assert not allows(policies(), "lambda:InvokeFunction", function)
    assert not allows(policies(Minter="true"), "lambda:InvokeFunction", f"{function}2")
    for action in ("PutItem", "UpdateItem", "DeleteItem"):
        for keys in ((key,), ("policy", key)):
            assert not allows(policies(), f"dynamodb:{action}", CONTROL, {"dynamodb:LeadingKeys": keys})
    assert not allows(policies(Minter="true"), "kms:Decrypt", MINTED, OF_MINTED)


# What runs, and what is told


def test_the_function_is_run_by_its_schedule_alone() -> None:
    """Once a minute, one at a time; its role is its own, it is the administration's zip, and its variables are what it reads."""
    found = resources()
    assert found["ScheduleMayRun"]["Properties"]["SourceArn"] == "<Schedule.Arn>"
    assert found["Schedule"]["Properties"]["ScheduleExpression"] == "rate(1 minute)"
    assert found["Schedule"]["Properties"]["Name"].startswith("keybroker-changes-"), "infra/watch.yaml tells of its end"
    assert found["Attempts"]["Properties"]["MaximumRetryAttempts"] == 0
    function = found["Function"]["Properties"]
    assert (function["Handler"], function["Code"]) == ("chalicelib.aws.minter.handler", "admin/deployment.zip")
    assert function["ReservedConcurrentExecutions"] == 1
    assert "ReservedConcurrentExecutions" not in resources({**ALL, "Concurrency": 0})["Function"]["Properties"]
    read = MinterConfig.read({"AWS_REGION": REGION, **function["Environment"]["Variables"]})
    assert read == MinterConfig(
        REGION,
        "keybroker",
        "keybroker-control",
        "keybroker-ledger",
        "https://broker.example.com",
        MINTED,
        tuple(ISSUERS),
    )
    off = resources(ON)["Function"]["Properties"]["Environment"]["Variables"]
    assert MinterConfig.read({"AWS_REGION": REGION, **off}).federation_keys == ()
    assert f"Runtime: python{PYTHON}\n" in package.template_of_function("minter")


def test_an_alarm_has_its_runbook() -> None:
    """Each alarm tells the topic, is of a metric that is printed, and leads to a section of docs/operate.md."""
    page = (ROOT / "docs" / "operate.md").read_text("utf-8")
    source = (ROOT / "chalicelib" / "aws" / "minter.py").read_text("utf-8")
    found = alarms("minter", **ON)
    assert found.keys() == RUNBOOKS
    for title, one in found.items():
        assert one["AlarmActions"] == ["arn:topic"]
        assert f'"{one["MetricName"]}"' in source
        assert f"docs/operate.md#{title})" in one["AlarmDescription"]
        section = page.partition(f"\n### {title}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
        assert section.lstrip().startswith("*By `minter`.*"), title
        assert "`" in section, f"{title} has no command"


def told(name: str, key: str, role: str) -> bool:
    happened = event("kms", name, {"keyId": key})
    happened["detail"]["resources"] = [{"ARN": key, "type": "AWS::KMS::Key"}]
    if role:
        happened["detail"]["userIdentity"] = {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": role}}}
    patterns = [one["EventPattern"] for one in rules("minter", **ALL).values() if "EventPattern" in one]
    return any(matches(one, happened) for one in patterns)


def test_who_else_uses_the_keys_is_told() -> None:
    """A signature by anybody but the minter, a minted value by anybody but minter, edge and gateway; an IAM user, too."""
    for key in ISSUERS:
        assert not told("Sign", key, f"{ROLE}minter")
        for role in (f"{ROLE}public", f"{ROLE}minter2", f"{ROLE}admin", ""):
            assert told("Sign", key, role)
    for name in ("Decrypt", "GenerateDataKey"):
        for role in ("minter", "edge", "gateway"):
            assert not told(name, MINTED, f"{ROLE}{role}")
        for role in (f"{ROLE}admin", f"{ROLE}edge2", ""):
            assert told(name, MINTED, role)
    assert not told("Sign", f"{KEY}another", f"{ROLE}admin")
    assert rules("minter", **ON).keys() == {"MintedValues", "Schedule"}, "AWS's own keys are nobody's to sign with"
