"""What security rests on in the edge's template: nothing cached, every call through the function, TLS, a numbered version."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from chalicelib.providers.presets import PROVIDERS
from infra import package
from tests.cloudformation import ACCOUNT, ROOT, resolved, template

ADDRESS = {"Domain": "keys.example.com", "Certificate": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/1"}


def properties(resource: str, **parameters: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = resolved(template("edge"), **parameters)[resource]["Properties"]
    return found


def of_type(kind: str) -> dict[str, Mapping[str, Any]]:
    return {key: one for key, one in template("edge")["Resources"].items() if one["Type"] == kind}


@pytest.fixture(scope="module", params=[{}, ADDRESS], ids=["cloudfront's own address", "a domain"])
def distribution(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    found: Mapping[str, Any] = properties("Distribution", **request.param)["DistributionConfig"]
    return found


def behaviours(distribution: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [distribution["DefaultCacheBehavior"], *distribution["CacheBehaviors"]]


def test_nothing_is_cached(distribution: Mapping[str, Any]) -> None:
    """Nothing is cached, and every call reaches the function with its headers."""
    for one in behaviours(distribution):
        assert one["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "not CachingDisabled"
        assert one["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac", "not AllViewerExceptHostHeader"
        assert one["Compress"] is False
        assert one["ViewerProtocolPolicy"] == "https-only"
        assert set(one["AllowedMethods"]) == {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}


def test_errors_are_not_cached_or_replaced(distribution: Mapping[str, Any]) -> None:
    """Error responses are neither cached nor replaced with pages."""
    found = distribution["CustomErrorResponses"]
    assert {one["ErrorCode"] for one in found} == {400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}
    assert all(one == {"ErrorCode": one["ErrorCode"], "ErrorCachingMinTTL": 0} for one in found)


def test_calls_go_through_the_function(distribution: Mapping[str, Any]) -> None:
    """Every call but Anthropic's token exchange goes through the function."""
    everything, token = behaviours(distribution)
    assert everything["LambdaFunctionAssociations"] == [
        {"EventType": "origin-request", "IncludeBody": True, "LambdaFunctionARN": "<Version>"}
    ]
    assert (token["PathPattern"], token["TargetOriginId"]) == ("/anthropic/v1/oauth/token", "broker")
    assert "LambdaFunctionAssociations" not in token


def test_function_version_is_numbered() -> None:
    """The distribution uses a numbered version of the function."""
    versions = of_type("AWS::Lambda::Version")
    association = template("edge")["Resources"]["Distribution"]["Properties"]["DistributionConfig"][
        "DefaultCacheBehavior"
    ]["LambdaFunctionAssociations"][0]
    assert {association["LambdaFunctionARN"]["Ref"]} == versions.keys()
    assert not of_type("AWS::Lambda::Alias")


def test_a_python_that_ends_soon_is_told() -> None:
    """Below 3.13, what is built comes with a warning: Lambda retires 3.11 first."""
    assert "Python 3.11, which Lambda retires" in package.retiring((3, 11))
    assert [package.retiring(version) for version in ((3, 13), (3, 14))] == ["", ""]


def test_version_changes_with_the_code() -> None:
    """New code is a new version; the same code is the same one."""
    texts = [package.edge_template(content) for content in (b"a", b"b", b"a")]
    names = [re.findall(r"Version[0-9a-f]{16}", text) for text in texts]
    assert all(len(found) == 3 and len(set(found)) == 1 for found in names)
    assert names[0] == names[2] != names[1]
    assert all("!Ref Version\n" not in text and "  Version:\n" not in text for text in texts)


@pytest.mark.parametrize("setting", ["MemorySize: 512", "Timeout: 10", "Handler: start.handler"])
def test_version_changes_with_memory_alone(setting: str) -> None:
    """A setting that Lambda keeps with a version makes a new version, without new code; a comment does not."""
    source = (ROOT / "infra" / "edge.yaml").read_text("utf-8")
    (was,) = set(re.findall(r"Version[0-9a-f]{16}", package.edge_template(b"a", source)))
    assert source.count(f"      {setting}\n") == 1
    assert was not in package.edge_template(b"a", source.replace(setting, f"{setting}1"))
    assert was in package.edge_template(b"a", f"# a comment\n{source}")


def test_tls_1_2_is_required() -> None:
    """Origins, and viewers of a custom domain, need TLS 1.2 or later."""
    config = properties("Distribution", **ADDRESS)["DistributionConfig"]
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert config["Aliases"] == ["keys.example.com"]
    for origin in config["Origins"]:
        assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
        assert origin["CustomOriginConfig"]["OriginSSLProtocols"] == ["TLSv1.2"]


def test_a_call_is_sent_to_a_provider_once(distribution: Mapping[str, Any]) -> None:
    """CloudFront repeats a GET that timed out as often as it connects; what is counted once is sent once."""
    attempts = {one["Id"]: one.get("ConnectionAttempts", 3) for one in distribution["Origins"]}
    assert attempts["instead-of-the-provider"] == 1


def test_no_origin_is_anybody_else_s_than_the_broker_s(distribution: Mapping[str, Any]) -> None:
    assert {one["DomainName"] for one in distribution["Origins"]} == {"<BrokerHost>"}
    assert not any("OriginCustomHeaders" in one for one in distribution["Origins"])
    times = {one["Id"]: one["CustomOriginConfig"]["OriginReadTimeout"] for one in distribution["Origins"]}
    assert times == {"instead-of-the-provider": 120, "broker": 30}


def test_the_wait_for_a_provider_is_a_parameter() -> None:
    """How long a provider may be silent is set once; the broker's answers are quick whatever that is."""
    origins = properties("Distribution", ProviderTimeout="60")["DistributionConfig"]["Origins"]
    times = {one["Id"]: one["CustomOriginConfig"]["OriginReadTimeout"] for one in origins}
    assert times == {"instead-of-the-provider": "60", "broker": 30}


def test_the_function_is_what_lambda_at_edge_takes() -> None:
    function = properties("Function")
    assert function["Timeout"] <= 30
    assert function["Architectures"] == ["x86_64"]
    assert not function.keys() & {
        "Environment",
        "Layers",
        "VpcConfig",
        "DeadLetterConfig",
        "TracingConfig",
        "KmsKeyArn",
    }
    assert {
        one.get("DeletionPolicy")
        for name, one in template("edge")["Resources"].items()
        if name in ("Function", "Version")
    } == {"RetainExceptOnCreate"}


# the function at viewer-response

NODE = shutil.which("node")
VECTORS: list[dict[str, str]] = json.loads((ROOT / "tests" / "vectors" / "provider_addresses.json").read_text())
_RUN = """
const events = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(events.map(handler)));
"""


def _run(events: list[Mapping[str, Any]], origins: str) -> list[Any]:
    """Run the function as CloudFront does, with these events of viewer-response."""
    assert NODE is not None
    code = properties("ProviderAddresses", Origins=origins)["FunctionCode"]
    done = subprocess.run(
        [NODE, "-e", code + _RUN], input=json.dumps(events), capture_output=True, text=True, timeout=60, check=True
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def _event(header: str, value: str, uri: str = "/github/x", *more: str) -> Mapping[str, Any]:
    found: dict[str, Any] = {"value": value}
    if more:
        found["multiValue"] = [{"value": one} for one in (value, *more)]
    request = {"method": "GET", "uri": uri, "headers": {"host": {"value": "edge.example"}}}
    return {"request": request, "response": {"statusCode": 200, "headers": {header.lower(): found}}}


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_a_provider_s_own_addresses() -> None:
    """At CloudFront an address of the key's own origin becomes the edge's, by the vectors of one machine."""
    for origin in {one["origin"] for one in VECTORS}:
        vectors = [one for one in VECTORS if one["origin"] == origin]
        answers = _run(
            [_event(one["header"], one["value"]) for one in vectors], f"other=https://x.example github={origin}"
        )
        found = [
            one["headers"][vector["header"].lower()]["value"] for one, vector in zip(answers, vectors, strict=True)
        ]
        assert found == [one["right"] for one in vectors]


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_addresses_below_no_known_key() -> None:
    """A key without a known origin, or with another's, changes nothing; repeated headers are changed each."""
    link = "<https://api.github.com/a>"
    events = [_event("link", link, uri) for uri in ("/git/x", "/github2/x", "/constructor/x", "/", "/.well-known/x")]
    assert [one["headers"]["link"]["value"] for one in _run(events, "github=https://api.github.com")] == [link] * 5
    [twice] = _run([_event("link", link, "/github/x", link)], "github=https://api.github.com")
    assert [one["value"] for one in twice["headers"]["link"]["multiValue"]] == ["<https://edge.example/github/a>"] * 2


def test_addresses_of_the_presets() -> None:
    """What is deployed knows each preset's origin, runs on every call's answer, and is as small as CloudFront wants."""
    presets = " ".join(f"{name}={one.origin}" for name, one in PROVIDERS.items() if one.origin)
    assert template("edge")["Parameters"]["Origins"]["Default"] == presets
    assert re.fullmatch(template("edge")["Parameters"]["Origins"]["AllowedPattern"], presets)
    function = properties("ProviderAddresses")
    assert len(function["FunctionCode"]) < 10_240
    assert function["AutoPublish"] is True
    default, token = behaviours(properties("Distribution")["DistributionConfig"])
    [association] = default["FunctionAssociations"]
    assert association["EventType"] == "viewer-response"
    assert "FunctionAssociations" not in token
