"""How deploying goes, without an account: what is said and in which order. It is done for real in tests/integration/infra."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra import deploy, destroy, package, signing_keys
from infra.aws_cli import AwsCli, AwsCommandError
from infra.deploy import Deployment
from infra.stage import Stage

PROD = Stage("prod", "eu-central-1")


def shown(text: str, *words: str) -> list[str]:
    """Return the commands with these words in them."""
    return [line for line in text.splitlines() if line.startswith("$ ") and all(word in line for word in words)]


def test_stacks_are_deployed_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Each stack is deployed after those whose outputs it needs."""
    assert deploy.main(["prod", "--region", "eu-central-1", "--show"]) == 0
    said = capsys.readouterr().out
    stacks = re.findall(r"deploy --stack-name keybroker-prod-(\w+) .*?--region (\S+)", said)
    home, edge = "eu-central-1", "us-east-1"
    assert stacks == [
        ("artefacts", home),
        ("logs", home),
        ("watch", home),
        ("artefacts", edge),
        ("logs", edge),
        ("watch", edge),
        ("tables", home),
        ("keys", home),
        ("admin", home),
        ("public", home),
        ("edge", edge),
        ("watcher", home),
    ]
    assert said.index("infra.signing_keys") < said.index("keybroker-prod-public"), "no token before it can be verified"
    assert len(shown(said, "update-termination-protection", "--enable-termination-protection")) == 2


def test_a_home_in_us_east_1_has_one_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["prod", "--region", "us-east-1", "--show"]) == 0
    assert len(shown(capsys.readouterr().out, "deploy --stack-name keybroker-prod-artefacts")) == 1


class _Small(AwsCli):
    """An AWS whose account runs so many functions at once."""

    def __init__(self, limit: str) -> None:
        super().__init__()
        self._limit = limit

    def run(self, *_arguments: str) -> str:
        return f"{self._limit}\n"


@pytest.mark.parametrize(("limit", "reserved"), [("10", {"Concurrency": "0"}), ("1000", {}), ("None", {})])
def test_a_new_account_reserves_nothing(
    limit: str, reserved: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where an account may reserve no executions, none are, and that is said; a stage's own choice stays."""
    assert Deployment(PROD, _Small(limit), tmp_path)._of_door("admin") == reserved
    assert ("none can be reserved" in capsys.readouterr().err) is bool(reserved)
    own = Stage("prod", "eu-central-1", {"admin": {"Concurrency": "3"}})
    assert Deployment(own, _Small(limit), tmp_path)._of_door("admin") == {"Concurrency": "3"}


class _Aws(AwsCli):
    """An AWS whose stacks answer with these URLs. told, where: what each stack was told, and its region, in turn."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        super().__init__(dry_run=False)
        self._urls = urls
        self._made: dict[str, dict[str, str]] = {}
        self.told: list[tuple[str, Mapping[str, str]]] = []
        self.where: list[tuple[str, str]] = []

    def run(self, *_arguments: str) -> str:
        return ""

    def stack_outputs(self, stack: str, region: str) -> Mapping[str, str]:  # noqa: ARG002  the real one's
        return self._made.get(stack, {})

    def deploy(
        self,
        stack: str,
        template: Path,  # noqa: ARG002  the real one's
        region: str,
        parameters: Mapping[str, str],
        bucket: str = "",  # noqa: ARG002  the real one's
    ) -> Mapping[str, str]:
        name = stack.rpartition("-")[2]
        self.told.append((name, parameters))
        self.where.append((name, region))
        outputs = ("KeyArn", "ControlName", "SigningKeyA", "SigningKeyB", "ProviderKeysKey", "Topic", "DistributionId")
        self._made[stack] = {"Url": self._urls.get(name, ""), **dict.fromkeys(outputs, "arn")}
        for chosen, keys in CHOSEN_KEYS.items():
            if name == "keys" and parameters.get(chosen) == "true":
                self._made[stack] |= {one: f"arn-of-{one}" for one in keys}
        return self._made[stack]


CHOSEN_KEYS = {"Minter": ("MintedKey",), "Issuer": ("FederationKeyElliptic", "FederationKeyRsa")}
URLS = {
    "public": "https://abc.execute-api.eu-central-1.amazonaws.com/api",
    "edge": "https://d1.cloudfront.net",
    "admin": "https://def.execute-api.eu-central-1.amazonaws.com/api",
}


@pytest.fixture
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Have nothing built and published; return what is baked into the edge's zip, in turn."""
    baked: list[dict[str, str]] = []
    monkeypatch.setattr(
        package, "build_edge", lambda _out, _wheels, config: baked.append(json.loads(config.read_text()))
    )
    monkeypatch.setattr(signing_keys, "main", lambda _arguments: 0)
    return baked


def test_first_deployment_repeats_until_urls_are_known(tmp_path: Path, nothing_is_built: list[dict[str, str]]) -> None:
    """Broker and edge are deployed again until each knows the other's URL."""
    aws = _Aws(URLS)
    urls = Deployment(PROD, aws, tmp_path, ("eu-west-1",)).run()
    assert urls == {"broker": URLS["public"], "edge": URLS["edge"], "administration": URLS["admin"]}
    told = [(one["Url"], one["EdgeUrl"]) for name, one in aws.told if name == "public"]
    assert told == [("", ""), (URLS["public"], URLS["edge"])]
    assert [one["edge_url"] for one in nothing_is_built] == [URLS["public"], URLS["edge"]]
    assert {one["issuer"] for one in nothing_is_built} == {URLS["public"]}
    edge = [one for name, one in aws.told if name == "edge"][-1]
    assert (edge["BrokerHost"], edge["BrokerPath"]) == ("abc.execute-api.eu-central-1.amazonaws.com", "/api")


def test_once_the_urls_are_known_it_goes_round_once(tmp_path: Path, nothing_is_built: list[dict[str, str]]) -> None:
    aws = _Aws(URLS)
    Deployment(PROD, aws, tmp_path, ("eu-west-1",)).run()
    aws.told.clear()
    nothing_is_built.clear()
    Deployment(PROD, aws, tmp_path, ("eu-west-1",)).run()
    assert [name for name, _ in aws.told if name in ("public", "edge")] == ["public", "edge"]
    assert len(nothing_is_built) == 1


MINTER = {"keys": {"Minter": "true"}, "minter": {"Enabled": "true"}}


def told_to(aws: _Aws, name: str) -> list[Mapping[str, str]]:
    return [told for stack, told in aws.told if stack == name]


def test_a_minter_is_deployed_where_it_was_chosen(tmp_path: Path, nothing_is_built: list[dict[str, str]]) -> None:
    """It knows the broker's URL and its keys, the edge the key of minted values, the administration both URL and minter."""
    aws = _Aws(URLS)
    Deployment(Stage("prod", "eu-central-1", MINTER), aws, tmp_path, ("eu-west-1",)).run()
    assert nothing_is_built
    [minter] = told_to(aws, "minter")
    assert (minter["Url"], minter["MintedKey"], minter["FederationKeys"]) == (URLS["public"], "arn-of-MintedKey", "")
    assert all(one["MintedKey"] == "arn-of-MintedKey" for one in told_to(aws, "edge"))
    # Again, since at first the URL is not known yet.
    assert [(one["Minter"], one["Url"]) for one in told_to(aws, "admin")] == [("true", ""), ("true", URLS["public"])]
    aws.told.clear()
    with_issuer = {"keys": {"Minter": "true", "Issuer": "true"}, "minter": {"Enabled": "true"}}
    Deployment(Stage("prod", "eu-central-1", with_issuer), aws, tmp_path, ("eu-west-1",)).run()
    [minter] = told_to(aws, "minter")
    assert minter["FederationKeys"] == "arn-of-FederationKeyElliptic,arn-of-FederationKeyRsa"
    assert [one["Url"] for one in told_to(aws, "admin")] == [URLS["public"]]


def test_keys_of_one_s_own_take_the_place_of_the_stack_s(
    tmp_path: Path, nothing_is_built: list[dict[str, str]]
) -> None:
    chosen = {**MINTER, "minter": {"Enabled": "true", "FederationKeys": "arn-1,arn-2,arn-3"}}
    aws = _Aws(URLS)
    Deployment(Stage("prod", "eu-central-1", chosen), aws, tmp_path, ("eu-west-1",)).run()
    assert nothing_is_built
    assert [one["FederationKeys"] for one in told_to(aws, "minter")] == ["arn-1,arn-2,arn-3"]


def test_a_minter_without_a_key_is_not_deployed(tmp_path: Path, nothing_is_built: list[dict[str, str]]) -> None:
    """It would have nothing to encrypt with; and a stage that says nothing of one has none of it."""
    with pytest.raises(AwsCommandError, match="the minter needs a key"):
        Deployment(Stage("prod", "eu-central-1", {"minter": {"Enabled": "true"}}), _Aws(URLS), tmp_path, ("x",)).run()
    aws = _Aws(URLS)
    Deployment(PROD, aws, tmp_path, ("eu-west-1",)).run()
    assert nothing_is_built
    assert told_to(aws, "minter") == []
    assert len(told_to(aws, "admin")) == 1
    assert not any("MintedKey" in one for one in told_to(aws, "edge"))


def test_what_was_chosen_for_a_stage_reaches_its_stack(tmp_path: Path, nothing_is_built: list[dict[str, str]]) -> None:
    assert nothing_is_built == []
    chosen = {
        "public": {"Signs": "B"},
        "edge": {"WebAcl": "arn:acl"},
        "logs": {"Days": "365"},
        "tables": {"ControlReads": "40000"},
    }
    aws = _Aws(URLS)
    Deployment(Stage("prod", "eu-central-1", chosen), aws, tmp_path, ("eu-west-1",)).run()
    told = dict(aws.told)
    assert (told["public"]["Signs"], told["edge"]["WebAcl"], told["logs"]["Days"]) == ("B", "arn:acl", "365")
    assert told["tables"]["ControlReads"] == "40000"
    assert [parameters["Home"] for name, parameters in aws.told if name == "watch"] == ["true", "false"]


def test_unpublished_signing_keys_stop_the_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without published signing keys, nothing that needs them is deployed."""
    monkeypatch.setattr(signing_keys, "main", lambda _arguments: 1)
    aws = _Aws(URLS)
    with pytest.raises(AwsCommandError, match="the edge would admit no token"):
        Deployment(PROD, aws, tmp_path).run()
    assert "public" not in {name for name, _ in aws.told}


class _RegionDenied(_Aws):
    """An AWS whose organization denies a region."""

    def run(self, *arguments: str) -> str:
        if "ap-south-1" in arguments:
            raise AwsCommandError("explicit deny in a service control policy")
        return ""


def test_a_denied_region_is_a_warning(
    tmp_path: Path, nothing_is_built: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A region that an organization denies costs its log's retention, not the end of the deployment with its URLs."""
    urls = Deployment(PROD, _RegionDenied(URLS), tmp_path, ("ap-south-1", "eu-west-1")).run()
    assert urls["edge"] == URLS["edge"]
    assert nothing_is_built
    said = capsys.readouterr().err
    assert "no retention of the edge's log lines in ap-south-1: explicit deny in a service control policy" in said


# a stage


@pytest.mark.parametrize("name", ["", "Prod", "1st", "a_b", "a" * 14])
def test_invalid_stage_name_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage's name that AWS would not accept in resource names is refused."""
    with pytest.raises(ValueError, match="a stage's name has 1 to 13"):
        Stage.read(name, "eu-central-1", tmp_path)
    assert deploy.main([name, "--region", "eu-central-1", "--show"]) == 1
    assert "error: a stage's name has" in capsys.readouterr().err


def test_the_longest_stage_has_names_that_aws_takes() -> None:
    stage = Stage("a" * 13, "ap-southeast-2")
    assert len(stage.prefix) <= 24
    assert len(stage.bucket("123456789012", stage.region)) <= 63


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "a JSON object"),
        ('{"artefacts": {}}', "with no members but"),
        ('{"public": {"Burst": 5}}', "public must be an object of strings"),
        ("{", "Expecting"),
        ('{"probe_regions": "us-west-2"}', "probe_regions must be a list of regions"),
        ('{"probe_regions": ["us-west-2; rm"]}', "probe_regions must be a list of regions"),
        ('{"probe_regions": ["us-west-2"]}', "probe_regions need"),
    ],
)
def test_invalid_stage_file_is_refused(text: str, fault: str, tmp_path: Path) -> None:
    """An invalid stage file is refused with the reason."""
    (tmp_path / "prod.json").write_text(text)
    with pytest.raises(ValueError, match=fault):
        Stage.read("prod", "eu-central-1", tmp_path)


def test_a_stage_s_file_says_where_home_is(tmp_path: Path) -> None:
    (tmp_path / "prod.json").write_text('{"region": "eu-west-1", "edge": {"Domain": "keys.example.com"}}')
    assert Stage.read("prod", "", tmp_path) == Stage("prod", "eu-west-1", {"edge": {"Domain": "keys.example.com"}})
    with pytest.raises(ValueError, match="no region"):
        Stage.read("other", "", tmp_path)


def test_a_probe_in_each_region_named(tmp_path: Path, nothing_is_built: list[dict[str, str]]) -> None:
    """The home region first, whose stack has the role; each with artefacts and a topic of its own region."""
    said = {"probe": {"Enabled": "true"}, "probe_regions": ["us-west-2", "eu-central-1", "us-west-2"]}
    (tmp_path / "prod.json").write_text(json.dumps(said))
    aws = _Aws(URLS)
    Deployment(Stage.read("prod", "eu-central-1", tmp_path), aws, tmp_path, ("eu-west-1",)).run()
    assert nothing_is_built
    assert [region for name, region in aws.where if name == "probe"] == ["eu-central-1", "us-west-2"]
    assert [one.get("HomeRegion", "") for one in told_to(aws, "probe")] == ["", "eu-central-1"]
    for stack in ("artefacts", "watch"):
        assert [region for name, region in aws.where if name == stack] == ["eu-central-1", "us-east-1", "us-west-2"]
    assert [one["Home"] for one in told_to(aws, "watch")] == ["true", "false", "false"]


def test_a_stage_s_file_names_its_gateways(tmp_path: Path, nothing_is_built: list[dict[str, str]]) -> None:
    """What docs/gateway.md has one write into a stage's file reaches the stacks that have to know of gateways."""
    said = {"keys": {"Gateway": "true", "Broker": "true"}, "admin": {"Gateway": "true"}}
    (tmp_path / "prod.json").write_text(json.dumps(said))
    aws = _Aws(URLS)
    Deployment(Stage.read("prod", "eu-central-1", tmp_path), aws, tmp_path, ("eu-west-1",)).run()
    told = dict(aws.told)
    assert {stack: said[stack].items() <= told[stack].items() for stack in said} == {"keys": True, "admin": True}
    assert nothing_is_built


def test_deploy_needs_the_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is deployed before `make package` has run."""
    assert deploy.main(["prod", "--region", "eu-central-1", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: nothing is built yet: run make package\n"


def test_without_an_aws_command_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AwsCommandError, match="the `aws` command was not found"):
        AwsCli().account("eu-central-1")


# taking it away


def test_destroy_needs_confirmation(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is destroyed unless the stage is named twice."""
    for confirm in ([], ["--confirm", "test"]):
        assert destroy.main(["prod", "--region", "eu-central-1", *confirm]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert "to confirm, set CONFIRM=prod" in said.err


def test_destroy_says_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """The stacks are deleted, and it prints what is left."""
    assert destroy.main(["prod", "--region", "eu-central-1", "--show"]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"delete-stack --stack-name keybroker-prod-(\w+)", said) == [
        "edge",
        "probe",
        "minter",
        "watcher",
        "audit",
        "public",
        "admin",
    ]
    for left in (
        "keybroker-prod-tables",
        "keybroker-prod-edge --region us-east-1",
        "/aws/lambda/us-east-1.keybroker-prod-edge",
    ):
        assert left in said.partition("What is left")[2]
