"""An installation that `make package` built and `make deploy` deployed, into ministack with signatures and policies enforced."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests import pip_index
from tests.aws_roles import DOORS
from tests.integration.ministack import CREDENTIALS
from tests.running import ROOT, Answer

HOME, EDGE, ELSEWHERE = "eu-central-1", "us-east-1", "us-west-2"
ACCOUNT = "000000000000"
AWS = ROOT / ".venv-infra" / "bin" / "aws"
PREFIX = "keybroker-test"
UNJUDGED = ("dynamodb:LeadingKeys", "kms:SigningAlgorithm", "kms:EncryptionContext:keybroker", "aws:PrincipalArn")
"""Condition keys that ministack does not know, or not as AWS does (of a role's session it takes the session's own ARN): with
them it denies what AWS allows. They are judged in tests/infra/test_least_privilege.py."""
BEDROCK = f"arn:aws:iam::{ACCOUNT}:role/bedrock"
STAGE: Mapping[str, Any] = {
    "watcher": {"Alarms": "all", "Dashboard": "true"},
    "probe": {"Enabled": "true"},
    "probe_regions": [ELSEWHERE],
    "keys": {"Minter": "true", "Issuer": "true"},
    "minter": {"Enabled": "true", "BedrockRoles": BEDROCK},
}
"""The stage's file: everything that is off by default."""
_HANDLE = """
import json, sys
import start
print(json.dumps([start.handler(event, None) for event in json.load(sys.stdin)]))
"""

Signer = Mapping[str, str]
"""A caller's access key: `aws_access_key_id` and so on, as botocore's clients take it."""


@dataclass(frozen=True, eq=False)
class Installation:
    """endpoint: of ministack. out: where what was deployed was built. urls: what `make deploy` said."""

    endpoint: str
    out: Path
    urls: Mapping[str, str]

    def client(self, service: str, region: str = HOME, signer: Signer = CREDENTIALS) -> Any:  # noqa: ANN401  of any service
        """Return a client that is as patient as a busy machine needs."""
        bounds = botocore.config.Config(read_timeout=60, retries={"total_max_attempts": 1})
        session: Any = botocore.session.get_session()
        return session.create_client(service, region, endpoint_url=self.endpoint, config=bounds, **signer)

    def outputs(self, stack: str, region: str = HOME) -> dict[str, str]:
        """Return a stack's outputs."""
        (found,) = self.client("cloudformation", region).describe_stacks(StackName=f"{PREFIX}-{stack}")["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}

    def signer(self, role: str) -> Signer:
        """Return the access key of a role's session."""
        made = self.client("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="a-test")
        found = made["Credentials"]
        names = {"aws_access_key_id": "AccessKeyId", "aws_secret_access_key": "SecretAccessKey"}
        return {name: found[one] for name, one in {**names, "aws_session_token": "SessionToken"}.items()}

    def role(self, name: str, *policies: str) -> Signer:
        """Make a role with these managed policies, and return the access key of a session of it."""
        iam = self.client("iam")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_trust()))
        for one in policies:
            iam.attach_role_policy(RoleName=name, PolicyArn=one)
        return self.signer(name)

    def ask(self, door: str, route: str, body: object = None, signer: Signer | None = None, **headers: str) -> Answer:
        """Call a route (`GET /healthz`) of a door through API Gateway; again if the state took longer than it may.

        headers: with `_` for `-`.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for _ in range(5):
            answer = self._ask(door, route, body, signer, named)
            if answer.status != 503:
                break
        return answer

    def _ask(self, door: str, route: str, body: object, signer: Signer | None, headers: Mapping[str, str]) -> Answer:
        method, _, path = route.partition(" ")
        url = f"{self.url(door)}{path}"
        data = None if body is None else json.dumps(body).encode()
        signed = AWSRequest(method, url, data=data, headers={"content-type": "application/json", **headers})
        if signer:
            token = signer.get("aws_session_token")
            key = Credentials(signer["aws_access_key_id"], signer["aws_secret_access_key"], token)
            SigV4Auth(key, "execute-api", HOME).add_auth(signed)
        request = urllib.request.Request(url, data, dict(signed.headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as found:
                return Answer(found.status, {name.lower(): one for name, one in found.headers.items()}, found.read())
        except urllib.error.HTTPError as refused:
            named = {name.lower(): one for name, one in refused.headers.items()}
            return Answer(refused.code, named, refused.read())

    def url(self, door: str) -> str:
        """Return where a door's API answers, which is not where it would on AWS."""
        return f"{self.endpoint}/restapis/{self._api(door)}/api/_user_request_"

    def call(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        """Have the edge's zip handle events in a process that has nothing else, with its role's rights."""
        signer = {name.upper(): value for name, value in self.signer(f"{PREFIX}-edge").items()}
        done = subprocess.run(
            [sys.executable, "-S", "-P", "-c", _HANDLE],
            env={
                "PYTHONPATH": str(self._task),
                "PATH": os.defpath,
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_REGION": EDGE,
                **signer,
            },
            input=json.dumps(events),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return found

    @property
    def _task(self) -> Path:
        task = self.out / "task"
        if not task.exists():
            with zipfile.ZipFile(self.out / "edge" / "edge.zip") as packed:
                packed.extractall(task)
        return task

    @functools.cache  # noqa: B019  one installation a test process
    def _api(self, door: str) -> str:
        return self.outputs(door)["RestAPIId"]


def deploy(endpoint: str, out: Path) -> Installation:
    """Build and deploy as a person does, with the commands of `make package` and `make deploy`."""
    if not AWS.exists():
        pytest.skip("there is no .venv-infra: nothing was deployed (make test-infra brings it)")
    _run(ROOT, "infra.package", "--out", str(out))
    _leave_out("AddressLimitOfApi", out / "public" / "sam.yaml")  # ministack knows no WebACLAssociation
    environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_PAGER": "", "PATH": f"{AWS.parent}:{os.environ['PATH']}"}
    environment |= {name.upper(): value for name, value in CREDENTIALS.items()}
    arguments = ("test", "--region", HOME, "--out", str(out), "--log-regions", EDGE, "ap-south-1")
    said = _run(_with_stage(out / "checkout"), "infra.deploy", *arguments, **environment)
    made = Installation(endpoint, out, dict(line.split(": ", 1) for line in said.splitlines()[-3:]))
    _let_tests_be(made)
    return made


def _with_stage(checkout: Path) -> Path:
    """Return a checkout like this one, whose infra/stages has the stage's file."""
    checkout.mkdir()
    for one in ROOT.iterdir():
        if one.name != "infra":
            (checkout / one.name).symlink_to(one)
    shutil.copytree(ROOT / "infra", checkout / "infra")
    stages = checkout / "infra" / "stages"
    stages.mkdir(exist_ok=True)
    (stages / "test.json").write_text(json.dumps(STAGE), encoding="utf-8")
    return checkout


def _leave_out(resource: str, template: Path) -> None:
    text = template.read_text("utf-8")
    left, found = re.subn(rf"^  {resource}:\n(?:    .*\n)+", "", text, flags=re.MULTILINE)
    assert found == 1
    template.write_text(left, "utf-8")


def _run(checkout: Path, module: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=checkout,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode and "pip" in done.stderr:
        pip_index.skip_or_fail(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _let_tests_be(made: Installation) -> None:
    """Let a test be any of the roles, and take off what ministack cannot judge."""
    iam, kms = made.client("iam"), made.client("kms")
    minted = made.outputs("keys")["MintedKey"]
    # AWS judges the key that an alias names; ministack judges the alias.
    by_alias = json.dumps([minted, f"arn:aws:kms:{HOME}:{ACCOUNT}:alias/{PREFIX}-minted"])
    for door in (*DOORS, "minter"):
        role = f"{PREFIX}-{door}"
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(_trust("lambda.amazonaws.com")))
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            text = json.dumps(judged(document)).replace(json.dumps(minted), by_alias)
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=text)
    for key in ("SigningKeyA", "SigningKeyB", "MintedKey", "FederationKeyElliptic", "FederationKeyRsa"):
        arn = made.outputs("keys")[key]
        policy = json.loads(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
        kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=json.dumps(judged(policy)))


def judged(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy without the conditions that ministack does not know, nor the denials that rest on one."""
    kept = (_judged(one) for one in policy["Statement"])
    return {**policy, "Statement": [one for one in kept if one]}


def _judged(statement: Mapping[str, Any]) -> dict[str, Any]:
    was = statement.get("Condition", {})
    conditions = {
        operator: kept
        for operator, wanted in was.items()
        if (kept := {key: value for key, value in wanted.items() if key not in UNJUDGED})
    }
    if statement["Effect"] == "Deny" and conditions != was:
        return {}
    bare = {name: value for name, value in statement.items() if name != "Condition"}
    return {**bare, "Condition": conditions} if conditions else bare


def _trust(*services: str) -> dict[str, Any]:
    who: dict[str, Any] = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    if services:
        who["Service"] = list(services)
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"}]}
