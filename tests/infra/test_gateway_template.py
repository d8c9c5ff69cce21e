"""What security rests on in the gateway's templates: the edge's rights and no more, TLS, no public task, an image by digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from local.program import _parser
from tests import cloudformation
from tests.aws_roles import DENIED, NEEDED, RoleRequest
from tests.cloudformation import ACCOUNT, REGION
from tests.iam_policy import allows
from tests.infra.test_least_privilege import ARNS, PARAMETERS

EDGES = [ask for ask in NEEDED if ask.role == "edge"]
NOT_EDGES = [ask for ask in DENIED if ask.role == "edge"]
GIVEN = {
    "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/keybroker@sha256:{'0' * 64}",
    "BrokerUrl": "https://broker.example.com",
    "Domain": "gateway.example.com",
}


def role(**parameters: str) -> Mapping[str, Any]:
    found = cloudformation.resolved(cloudformation.template("gateway-role"), **PARAMETERS, **parameters)
    properties: Mapping[str, Any] = found["Role"]["Properties"]
    return properties


def resources(**parameters: Any) -> Mapping[str, Any]:  # noqa: ANN401  as CloudFormation has them
    return {
        name: one["Properties"]
        for name, one in cloudformation.resolved(cloudformation.template("gateway"), **GIVEN, **parameters).items()
    }


def container() -> Mapping[str, Any]:
    (found,) = resources()["Task"]["ContainerDefinitions"]
    only: Mapping[str, Any] = found
    return only


# the role


@pytest.mark.parametrize("ask", EDGES, ids=str)
def test_what_the_edge_needs_the_gateway_may(ask: RoleRequest) -> None:
    """The gateway's role may do what the edge's may."""
    policies = [one["PolicyDocument"] for one in role()["Policies"]]
    assert allows(policies, ask.action, ARNS[ask.on], ask.conditions())


@pytest.mark.parametrize("ask", NOT_EDGES, ids=str)
def test_what_the_edge_may_not_the_gateway_may_not(ask: RoleRequest) -> None:
    """The gateway's role may do nothing that the edge's may not."""
    policies = [one["PolicyDocument"] for one in role()["Policies"]]
    assert not allows(policies, ask.action, ARNS[ask.on], replace(ask, role="gateway").conditions()), ask.what


def test_its_statements_are_the_edge_s() -> None:
    """But for the log, which is the execution role's, its policy is the edge's, statement by statement."""
    edge = cloudformation.resolved(cloudformation.template("edge"), **PARAMETERS)["Role"]["Properties"]
    (mine,), (theirs,) = role()["Policies"], edge["Policies"]
    wanted = [one for one in theirs["PolicyDocument"]["Statement"] if one["Sid"] != "WriteItsLog"]
    assert mine["PolicyDocument"]["Statement"] == wanted


@pytest.mark.parametrize(
    ("runs_on", "service"), [("fargate", "ecs-tasks.amazonaws.com"), ("eks", "pods.eks.amazonaws.com")]
)
def test_only_this_account_s_tasks_become_it(runs_on: str, service: str) -> None:
    """The role is for one service, on behalf of this account alone."""
    (statement,) = role(RunsOn=runs_on)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": service}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_the_key_is_the_gateway_s_only_if_asked() -> None:
    """The key of the provider keys knows the gateway's role only where there is a gateway."""

    def readers(**parameters: str) -> list[str]:
        found = cloudformation.resolved(cloudformation.template("keys"), **parameters)
        statements = found["ProviderKeysKey"]["Properties"]["KeyPolicy"]["Statement"]
        (reads,) = [one for one in statements if one["Sid"] == "EdgeReads"]
        names: list[str] = reads["Condition"]["ArnEquals"]["aws:PrincipalArn"]
        return [name.rpartition("/")[2] for name in names]

    assert readers() == ["keybroker-edge"]
    assert readers(Gateway="true") == ["keybroker-edge", "keybroker-gateway"]


def test_what_starts_a_task_reads_no_key() -> None:
    """The execution role pulls the image and writes the log; it reads no table and no secret."""
    (policy,) = resources()["ExecutionRole"]["Policies"]
    actions = {action for one in policy["PolicyDocument"]["Statement"] for action in _listed(one["Action"])}
    assert actions == {
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "ecr:GetAuthorizationToken",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }


def _listed(found: Any) -> list[str]:  # noqa: ANN401  one or several
    return found if isinstance(found, list) else [found]


# the network


def test_callers_come_by_tls() -> None:
    """The one listener is TLS 1.2 or later, at 443, the only port that callers reach."""
    made = resources()
    listener = made["Listener"]
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    assert listener["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    (ingress,) = made["LoadBalancerGroup"]["SecurityGroupIngress"]
    assert (ingress["FromPort"], ingress["ToPort"]) == (443, 443)
    assert made["LoadBalancer"]["Scheme"] == "internal"


def test_a_task_is_reached_by_its_load_balancer_alone() -> None:
    """No task has a public address, or takes a connection that is not the load balancer's."""
    made = resources()
    (ingress,) = made["TaskGroup"]["SecurityGroupIngress"]
    assert ingress["SourceSecurityGroupId"] == "<LoadBalancerGroup>"
    assert made["Service"]["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    assert made["Service"]["EnableExecuteCommand"] is False


def test_no_call_is_cut_by_the_load_balancer() -> None:
    """The gateway keeps connections longer than its load balancer, which keeps silent ones as long as it can."""
    attributes = {one["Key"]: one["Value"] for one in resources()["LoadBalancer"]["LoadBalancerAttributes"]}
    told = options()
    assert told["keep_alive"] > int(attributes["idle_timeout.timeout_seconds"]) == 4000
    assert told["provider_timeout"] is None
    assert attributes["routing.http.xff_header_processing.mode"] == "append"


@pytest.mark.parametrize("prefix", ["keybroker-prod", "internals", "an-internal", "a" * 24, "ab-", "internal0-a"])
def test_a_prefix_makes_a_name_aws_takes(prefix: str) -> None:
    """The load balancer of every prefix that is taken has a name that AWS takes."""
    assert re.fullmatch(prefixes(), prefix)
    name = str(resources(Prefix=prefix)["LoadBalancer"]["Name"])
    assert re.fullmatch(r"(?!internal-)[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?", name), name


@pytest.mark.parametrize("prefix", ["internal", "internal-", "internal-prod", "a" * 25, "-a", "A1", "1a", "a"])
def test_a_prefix_aws_refuses_is_refused_first(prefix: str) -> None:
    """A prefix whose load balancer AWS would refuse is refused before anything is made; so is one that no template takes."""
    assert not re.fullmatch(prefixes(), prefix)


def test_the_other_prefixes_are_every_template_s() -> None:
    """But for those that no load balancer may have, what the keys' template takes as a prefix the gateway's takes."""
    pattern = cloudformation.template("keys")["Parameters"]["Prefix"]["AllowedPattern"]
    assert prefixes() == f"(?!internal(-|$)){pattern}"


def prefixes() -> str:
    pattern: str = cloudformation.template("gateway")["Parameters"]["Prefix"]["AllowedPattern"]
    return pattern


def test_a_task_that_stops_has_drained() -> None:
    """Calls under way have Drain seconds before a task is told to stop, and then less than ECS waits before it kills."""
    targets = {one["Key"]: one["Value"] for one in resources(Drain="900")["Targets"]["TargetGroupAttributes"]}
    assert targets["deregistration_delay.timeout_seconds"] == "900"
    assert options()["drain_delay"] + options()["drain"] + 10 <= container()["StopTimeout"] <= 120


def test_an_update_can_leave_the_tasks_there_are() -> None:
    """The first deployment starts Tasks; an update with KeepTasks says no count, which would undo what scaling made."""
    assert resources(Tasks=3)["Service"]["DesiredCount"] == 3
    assert "DesiredCount" not in resources(Tasks=3, KeepTasks="true")["Service"]
    assert resources(Tasks=3, KeepTasks="true")["Scaling"]["MinCapacity"] == 3


def test_an_outage_of_the_tables_ends_no_task() -> None:
    """ECS asks whether a task runs, not whether it is ready: one without its tables goes on with what is under way."""
    assert resources()["Targets"]["HealthCheckPath"] == "/healthz"


def test_endpoints_are_made_only_if_asked() -> None:
    """By default what is there in the VPC is used."""

    def endpoints(**parameters: str) -> int:
        found = cloudformation.resolved(cloudformation.template("gateway"), **GIVEN, **parameters)
        return sum(one["Type"] == "AWS::EC2::VPCEndpoint" for one in found.values())

    assert (endpoints(), endpoints(Endpoints="true")) == (0, 6)


# the container


def test_a_container_can_do_little() -> None:
    """It is nobody's root, writes nowhere, and has no capability."""
    one = container()
    assert (one["User"], one["ReadonlyRootFilesystem"]) == ("65532:65532", True)
    assert "Privileged" not in one  # on Fargate nothing is, and the property is no use there
    assert one["LinuxParameters"] == {"Capabilities": {"Drop": ["ALL"]}}
    assert "Environment" not in one
    assert "Secrets" not in one


def test_long_bodies_have_a_place() -> None:
    """A task's volume at /tmp can be written to, and nothing else can."""
    (volume,) = resources()["Task"]["Volumes"]
    assert volume == {"Name": "bodies"}
    (mounted,) = container()["MountPoints"]
    assert mounted == {"SourceVolume": "bodies", "ContainerPath": "/tmp", "ReadOnly": False}


def test_an_image_is_named_by_its_digest() -> None:
    """A tag can be moved to another image; a digest is what was built."""
    pattern = cloudformation.template("gateway")["Parameters"]["Image"]["AllowedPattern"]
    assert re.fullmatch(pattern, GIVEN["Image"])
    assert not re.fullmatch(pattern, "keybroker:latest")


def options() -> dict[str, Any]:
    """What the container's command says, as the program reads it."""
    command = [str(one) for one in container()["Command"]]
    return vars(_parser(installed=False).parse_args(["gateway", *command]))


def test_the_command_is_one_that_there_is() -> None:
    """The container is told the stage's names by options that the program has."""
    told = options()
    assert (told["region"], told["stage"], told["issuer"]) == (REGION, "keybroker", "https://broker.example.com")
    assert (told["url"], told["host"], told["port"]) == ("https://gateway.example.com", "0.0.0.0", 8081)  # noqa: S104  in a container
