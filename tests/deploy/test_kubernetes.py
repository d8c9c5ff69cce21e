"""deploy/kubernetes: valid by Kubernetes' own schemas, restricted by its own standard, and in step with the program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has no types
import pytest
import yaml

from local.program import _parser
from local.simulator import whole_bodies
from local.simulator.health import HEALTHZ, READYZ
from tests.running import ROOT

HERE = ROOT / "deploy" / "kubernetes"
NAMES = sorted(path.name for path in HERE.glob("*.yaml"))
KINDS = {
    "Namespace",
    "ServiceAccount",
    "Deployment",
    "Service",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "NetworkPolicy",
}
LABELS = {"app.kubernetes.io/name": "keybroker-gateway"}


def read(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load((HERE / name).read_text("utf-8"))
    return found


def of_kind(kind: str) -> Mapping[str, Any]:
    (found,) = [one for one in map(read, NAMES) if one["kind"] == kind]
    return found


def pod() -> Mapping[str, Any]:
    found: Mapping[str, Any] = of_kind("Deployment")["spec"]["template"]["spec"]
    return found


def container() -> Mapping[str, Any]:
    (one,) = pod()["containers"]
    found: Mapping[str, Any] = one
    return found


def options() -> Mapping[str, Any]:
    return vars(_parser(installed=False).parse_args(["gateway", *container()["args"]]))


@pytest.mark.parametrize("name", NAMES)
def test_manifests_are_valid(name: str) -> None:
    """Each manifest is valid by Kubernetes' own schema, with no member that there is not."""
    kubernetes_validate.validate(read(name), kubernetes_validate.latest_version(), strict=True)


def test_everything_is_there_and_belongs_together() -> None:
    """One manifest of each kind; all select the same pods in one namespace."""
    found = {one["kind"]: one for one in map(read, NAMES)}
    assert found.keys() == KINDS
    assert len(NAMES) == len(KINDS)
    for kind, one in found.items():
        assert kind == "Namespace" or one["metadata"]["namespace"] == found["Namespace"]["metadata"]["name"]
    assert LABELS.items() <= found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == LABELS
    assert found["Service"]["spec"]["selector"] == LABELS
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABELS
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == LABELS
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    assert pod()["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
    assert "replicas" not in found["Deployment"]["spec"]  # it would undo what the autoscaler has done


def test_pods_meet_the_restricted_standard() -> None:
    """A pod is nobody's root, writes nowhere, has no capability and no token of Kubernetes; the namespace insists."""
    own, of_all = container()["securityContext"], pod()["securityContext"]
    assert (of_all["runAsNonRoot"], of_all["runAsUser"]) == (True, 65532)
    assert of_all["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod()["automountServiceAccountToken"] is False
    assert not pod().keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert all("emptyDir" in volume for volume in pod()["volumes"])
    labels = of_kind("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_long_bodies_have_a_place() -> None:
    """Files of a worker's bodies, at most a gibibyte, can be written to /tmp and nowhere else, and end with the pod."""
    assert container()["volumeMounts"] == [{"name": "bodies", "mountPath": "/tmp"}]
    assert pod()["volumes"] == [{"name": "bodies", "emptyDir": {"sizeLimit": "1536Mi"}}]
    assert whole_bodies.MOST < 1536 * 2**20


def test_probes_ask_what_the_gateway_answers() -> None:
    """Readiness asks for the tables; liveness does not, so that an outage of theirs restarts nothing."""
    one = container()
    assert one["readinessProbe"]["httpGet"] == {"path": READYZ, "port": "http"}
    for probe in ("livenessProbe", "startupProbe"):
        assert one[probe]["httpGet"] == {"path": HEALTHZ, "port": "http"}
    port, numbers = one["ports"]
    assert port["containerPort"] == options()["port"]
    assert (numbers["name"], numbers["containerPort"]) == ("metrics", options()["metrics"].port)
    found = of_kind("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert found["prometheus.io/port"] == str(options()["metrics"].port)


def test_a_pod_has_time_to_drain() -> None:
    """A pod is killed only after it has waited for load balancers and finished its calls."""
    told = options()
    waits = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert waits >= 5
    assert waits + told["drain_delay"] + told["drain"] + 10 <= pod()["terminationGracePeriodSeconds"]


def test_the_image_is_named_by_a_digest() -> None:
    """The image is to be filled in, and by its digest."""
    assert re.fullmatch(r"registry\.example\.com/keybroker@sha256:0{64}", container()["image"])
    assert "env" not in container()


def test_instance_metadata_are_out_of_reach() -> None:
    """No pod reaches the node's metadata, and so its role; callers reach it through the ingress alone, and Prometheus its numbers alone."""
    policy = of_kind("NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    blocks = [to["ipBlock"] for rule in policy["egress"] for to in rule["to"] if "ipBlock" in to]
    nets = [(ip_network(one["cidr"]), [ip_network(but) for but in one.get("except", ())]) for one in blocks]
    for metadata in map(ip_address, ("169.254.169.254", "fd00:ec2::254", "fe80::1")):
        assert [net for net, but in nets if metadata in net and not any(metadata in one for one in but)] == []
    for agent in map(ip_address, ("169.254.170.23", "fd00:ec2::23")):
        assert [net.num_addresses for net, but in nets if agent in net and not any(agent in one for one in but)] == [1]
    opened = [port["port"] for rule in policy["egress"] if "ipBlock" in rule["to"][0] for port in rule["ports"]]
    assert opened == [443, 80]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [["http"], ["metrics"]]
    assert all("namespaceSelector" in one for rule in policy["ingress"] for one in rule["from"])


def test_pods_are_apart() -> None:
    """Pods of one roll-out are spread over zones and over nodes, so that neither's loss takes them all."""
    spread = pod()["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    for one in spread:
        assert one["labelSelector"]["matchLabels"] == LABELS
        assert (one["maxSkew"], one["matchLabelKeys"]) == (1, ["pod-template-hash"])


def test_a_node_has_room_for_bodies() -> None:
    """A node is chosen that has room for what is written to /tmp."""
    asked = container()["resources"]
    size = pod()["volumes"][0]["emptyDir"]["sizeLimit"]
    room = [
        int(of["ephemeral-storage"][:-2]) * {"Mi": 1, "Gi": 1024}[of["ephemeral-storage"][-2:]] for of in asked.values()
    ]
    assert int(size.removesuffix("Mi")) < min(room)


def test_one_is_always_there() -> None:
    """Two at least, and one at a time goes, also where the tables are out of reach."""
    assert of_kind("HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    budget = of_kind("PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert of_kind("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
