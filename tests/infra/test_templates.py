"""What security rests on in the templates that are deployed. Those of the doors are Chalice's, merged with ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests import cloudformation
from tests.cloudformation import ACCOUNT, resolved, template

DOORS = ("public", "admin")
TEMPLATES = (
    "artefacts",
    "tables",
    "keys",
    "logs",
    "watch",
    *DOORS,
    "edge",
    "watcher",
    "audit",
    "probe",
    "minter",
    "gateway-role",
    "broker-role",
    "gateway",
)
ADDRESS = {"Domain": "keys.example.com", "Certificate": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/1"}
OPEN = {
    "/token": "post",
    "/revoke": "post",
    "/anthropic/v1/oauth/token": "post",
    "/audience": "get",
    "/usage": "get",
    "/healthz": "get",
    "/.well-known/jwks.json": "get",
    "/federation/.well-known/openid-configuration": "get",
    "/federation/jwks": "get",
    "/.well-known/oauth-authorization-server": "get",
    "/.well-known/openid-configuration": "get",
}
"""Routes that are open to everybody, each with its method."""


def properties(name: str, resource: str, **parameters: Any) -> Mapping[str, Any]:  # noqa: ANN401  as CloudFormation has them
    found: Mapping[str, Any] = resolved(template(name), **parameters)[resource]["Properties"]
    return found


def of_type(name: str, kind: str) -> dict[str, Mapping[str, Any]]:
    return {key: one for key, one in template(name)["Resources"].items() if one["Type"] == kind}


def body(door: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = properties(door, "RestAPI")["DefinitionBody"]
    return found


# the broker and the administration


def guarded(door: str) -> Iterator[tuple[str, str, bool]]:
    """Yield every path and method, and whether IAM is asked for."""
    for path, methods in body(door)["paths"].items():
        for method, one in methods.items():
            if method != "options":
                yield path, method, one.get("security") == [{"sigv4": []}]


def test_iam_routes_have_the_iam_authorizer() -> None:
    """All admin routes, and the public IAM route, have the IAM authorizer."""
    assert all(iam for _, _, iam in guarded("admin"))
    assert {path for path, _, iam in guarded("public") if iam} == {"/token/iam"}
    assert {(path, method) for path, method, iam in guarded("public") if not iam} == set(OPEN.items())
    for door in DOORS:
        assert body(door)["securityDefinitions"]["sigv4"]["x-amazon-apigateway-authtype"] == "awsSigv4"


def invocable(door: str, principal: str, path: str, method: str, **parameters: Any) -> bool:  # noqa: ANN401  as CloudFormation has them
    """Whether the API's own policy lets a principal ("*" for anybody) call a route."""
    policy = properties(door, "RestAPI", **parameters)["DefinitionBody"]["x-amazon-apigateway-policy"]
    arn = f"execute-api:/api/{method.upper()}{path}"
    for one in policy["Statement"]:
        who = one["Principal"] if one["Principal"] == "*" else one["Principal"]["AWS"]
        resources = one["Resource"] if isinstance(one["Resource"], list) else [one["Resource"]]
        forms = [re.escape(form).replace(r"\*", ".*") for form in resources]
        if (
            one["Effect"] == "Allow"
            and (who == "*" or principal in who)
            and any(re.fullmatch(form, arn) for form in forms)
        ):
            return True
    return False


def test_public_policy_opens_the_open_routes() -> None:
    """The public API's resource policy opens exactly the open routes."""
    for path, method, iam in guarded("public"):
        assert invocable("public", "*", path, method) is not iam
    assert not invocable("public", "*", "/token", "get")
    assert not invocable("public", "*", "/admin/policy", "get")


def test_named_accounts_may_call_the_iam_route() -> None:
    """Other accounts' principals may call the IAM route once they are named."""
    named = {"CallerAccounts": ["210987654321"]}
    assert not invocable("public", "210987654321", "/token/iam", "post")
    assert invocable("public", "210987654321", "/token/iam", "post", **named)
    assert not invocable("public", "333333333333", "/token/iam", "post", **named)


def test_admin_policy_denies_other_accounts() -> None:
    """The admin API's policy allows nothing by itself, and denies other accounts and networks."""
    network, account = body("admin")["x-amazon-apigateway-policy"]["Statement"]
    assert {network["Effect"], account["Effect"]} == {"Deny"}
    for one in (network, account):
        assert (one["Principal"], one["Action"], one["Resource"]) == ("*", "execute-api:Invoke", "execute-api:/*")
    assert network["Condition"] == {"NotIpAddress": {"aws:SourceIp": ["0.0.0.0/0", "::/0"]}}
    assert account["Condition"] == {"StringNotEquals": {"aws:PrincipalAccount": ACCOUNT}}


@pytest.mark.parametrize("door", DOORS)
def test_gateway_responses_have_the_apis_format(door: str) -> None:
    """API Gateway's own responses have the API's error format."""
    found = body(door)["x-amazon-apigateway-gateway-responses"]
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "ACCESS_DENIED", "MISSING_AUTHENTICATION_TOKEN", "THROTTLED"} <= found.keys()
    for name, one in found.items():
        ((kind, text),) = one["responseTemplates"].items()
        told = json.loads(text)
        assert kind == "application/json"
        assert told["request_id"] == "$context.requestId", name
        # SECURITY: nothing of the request, nor of what API Gateway says of it, which quotes what was signed.
        assert re.findall(r"\$[\w.]+", text) == ["$context.requestId"], name
        headers = one["responseParameters"]
        assert headers["gatewayresponse.header.x-request-id"] == "context.requestId"
        assert headers["gatewayresponse.header.cache-control"] == "'no-store'"
        if door == "admin":
            assert headers["gatewayresponse.header.content-type"] == "'application/problem+json'"
            assert told["status"] == one["statusCode"]
        else:
            assert told.keys() == {"error", "error_description", "request_id"}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_told_its_names_and_no_secret(door: str) -> None:
    told = properties(door, "APIHandler")["Environment"]["Variables"]
    names = {
        "public": {"DOOR", "CONTROL", "COUNTERS", "LEDGER", "URL", "EDGE_URL", "SIGNING_KEY"},
        "admin": {"DOOR", "CONTROL", "COUNTERS", "LEDGER", "SECRETS_PREFIX", "SECRETS_KEY", "GATEWAY", "URL", "MINTER"},
    }[door]
    assert told.keys() == {f"KEYBROKER_{name}" for name in names}
    assert told["KEYBROKER_DOOR"] == door


@pytest.mark.parametrize("door", DOORS)
def test_apis_are_regional_and_throttled(door: str) -> None:
    """An API is regional and throttled; with a domain it requires TLS 1.2 and has no other address."""
    api = properties(door, "RestAPI")
    assert api["EndpointConfiguration"] == "REGIONAL"
    assert api["MethodSettings"][0]["ThrottlingRateLimit"] > 0
    assert (api["StageName"], api["OpenApiVersion"], api["AlwaysDeploy"]) == ("api", "2.0", True)
    assert properties(door, "RestAPI", **ADDRESS)["DisableExecuteApiEndpoint"] is True
    assert properties(door, "ApiDomain", **ADDRESS)["SecurityPolicy"] == "TLS_1_2"
    assert "ApiDomain" not in resolved(template(door))


DEFAULT_CONCURRENCY = {"public": 200, "admin": 10}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_has_executions_of_its_own(door: str) -> None:
    """Neither door, nor the edge, can take the executions by which an administrator revokes; 0 reserves none."""
    assert properties(door, "APIHandler")["ReservedConcurrentExecutions"] == DEFAULT_CONCURRENCY[door]
    assert "ReservedConcurrentExecutions" not in properties(door, "APIHandler", Concurrency=0)


def test_an_address_has_a_limit() -> None:
    """A web ACL blocks an address that asks too often; it can be another's, or none, and keeps no sample of a request."""
    acl = properties("public", "AddressLimit")
    (rule,) = acl["Rules"]
    assert (acl["Scope"], acl["DefaultAction"]) == ("REGIONAL", {"Allow": {}})
    answer = rule["Action"]["Block"]["CustomResponse"]
    assert (answer["ResponseCode"], answer["ResponseHeaders"][0]) == (429, {"Name": "retry-after", "Value": "300"})
    said = acl["CustomResponseBodies"][answer["CustomResponseBodyKey"]]
    assert said["ContentType"] == "APPLICATION_JSON"
    assert json.loads(said["Content"]).keys() == {"error", "error_description"}
    limit = {"AggregateKeyType": "IP", "EvaluationWindowSec": 300, "Limit": 1000}
    assert rule["Statement"] == {"RateBasedStatement": limit}
    assert not any(one["VisibilityConfig"]["SampledRequestsEnabled"] for one in (acl, rule))
    stage = properties("public", "AddressLimitOfApi")["ResourceArn"]
    assert stage == "arn:aws:apigateway:eu-central-1::/restapis/<RestAPI>/stages/api"
    assert properties("public", "AddressLimitOfApi")["WebACLArn"] == "<AddressLimit.Arn>"
    off = resolved(template("public"), RequestsPerAddress=0)
    assert not {"AddressLimit", "AddressLimitOfApi"} & off.keys()
    for limit_of_ours in (0, 1000):
        own = resolved(template("public"), RequestsPerAddress=limit_of_ours, WebAcl="arn-of-theirs")
        assert "AddressLimit" not in own
        assert own["AddressLimitOfApi"]["Properties"]["WebACLArn"] == "arn-of-theirs"


def test_refused_administration_is_in_the_access_log() -> None:
    """The access log has each call's caller, status and request id, and nothing that was sent but the route's method."""
    setting = properties("admin", "RestAPI")["AccessLogSetting"]
    assert setting["DestinationArn"].endswith(":log-group:/aws/apigateway/keybroker-admin")
    line = json.loads(setting["Format"])
    assert {line["request_id"], line["caller"], line["status"], line["refusal"]} == {
        "$context.requestId",
        "$context.identity.userArn",
        "$context.status",
        "$context.error.responseType",
    }
    # SECURITY: no path, query or error's text, which quote what was sent (test_templates.py).
    quoting = ("path", "querystring", "error.message", "authorizer", "path.", "accessKey", "apiKey", "userAgent")
    assert not any(f"$context.{one}" == value for value in line.values() for one in quoting)
    assert all(value.startswith("$context.") for value in line.values())
    assert properties("admin", "LogAccount") == {"CloudWatchRoleArn": "<LogRole.Arn>"}
    (trust,) = properties("admin", "LogRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}
    assert not {"LogRole", "LogAccount"} & resolved(template("admin"), AccountLogRole="false").keys()


def test_the_stage_waits_for_the_account_s_log_role() -> None:
    """A stage with a log is refused until the account has a role for logs, and the account until it has an API."""
    resources = template("admin")["Resources"]
    waits = resources["RestAPI"]["Properties"]["Variables"]["logrole"]  # SAM gives it to the stage, not to the API
    assert waits == {"Fn::If": ["SetsLogRole", {"Ref": "LogAccount"}, "set-elsewhere"]}
    assert resources["LogAccount"]["DependsOn"] == "RestAPI"
    assert "DependsOn" not in resources["RestAPI"], "a resource that may not exist"


def test_which_key_signs_first_is_a_parameter() -> None:
    """The broker has both keys; the first one signs until an administrator has another one sign."""
    keys = {"SigningKeyA": "arn-a", "SigningKeyB": "arn-b"}
    for one, both in (("A", "arn-a,arn-b"), ("B", "arn-b,arn-a")):
        told = properties("public", "APIHandler", **keys, Signs=one)["Environment"]["Variables"]
        assert told["KEYBROKER_SIGNING_KEY"] == both


def test_policies_for_three_kinds_of_administrators() -> None:
    """There are policies to view, to revoke and to administer."""
    found = {
        name: [
            arn.partition("/api/")[2]
            for arn in _listed(one["Properties"]["PolicyDocument"]["Statement"][0]["Resource"])
        ]
        for name, one in resolved(template("admin")).items()
        if one["Type"] == "AWS::IAM::ManagedPolicy"
    }
    look = ["GET/admin/*", *(f"POST/admin/policy/{one}" for one in ("validate", "plan", "explain", "replay"))]
    assert found == {
        "Viewer": look,
        "Responder": [*look, "POST/admin/revocations", "DELETE/admin/revocations/*"],
        "Administrator": ["*/admin/*"],
    }


# what holds of all


def _listed(value: Any) -> list[Any]:  # noqa: ANN401  one, or a list of them
    return value if isinstance(value, list) else [value]


def statements(name: str) -> Iterator[Mapping[str, Any]]:
    """Yield every statement of every role and managed policy."""
    for one in resolved(template(name)).values():
        documents = [policy["PolicyDocument"] for policy in one["Properties"].get("Policies", [])]
        if one["Type"] == "AWS::IAM::ManagedPolicy":
            documents.append(one["Properties"]["PolicyDocument"])
        yield from (statement for document in documents for statement in document["Statement"])


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_identity_may_anything_on_everything(name: str) -> None:
    for one in statements(name):
        assert not any(action.endswith("*") for action in _listed(one["Action"])), one
        for resource in _listed(one["Resource"]):
            if one["Action"] == "ecr:GetAuthorizationToken":  # it has no resource
                continue
            assert resource != "*", one
            # A name's end is open where what is meant is all of a kind of this installation's: streams, secrets, routes.
            assert re.fullmatch(r"<\w+>|arn:aws:(logs|secretsmanager|dynamodb|execute-api|s3|firehose):.*", resource), (
                resource
            )
            if resource.startswith("arn:aws:dynamodb"):
                assert "*" not in resource


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_cannot_be_made_again_outlives_its_stack(name: str) -> None:
    kinds = ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::S3::Bucket")
    for one in template(name)["Resources"].values():
        if one["Type"] in kinds:
            # Where the name is taken by what is left of a deployment that failed, the next one would fail, too.
            assert one["DeletionPolicy"] in ("Retain", "RetainExceptOnCreate")
            assert one["UpdateReplacePolicy"] == "Retain"


def test_logs_have_a_retention() -> None:
    """Every function's log group has a retention."""
    functions = {name: properties(name, "APIHandler")["FunctionName"] for name in DOORS}
    wanted = {f"/aws/lambda/{one}" for one in functions.values()} | {"/aws/lambda/us-east-1.keybroker-edge"}
    wanted |= {"/aws/apigateway/keybroker-admin", "/aws/vendedlogs/keybroker-access"}
    wanted.add("/aws/lambda/keybroker-watcher")
    made = resolved(template("logs"))
    assert all(one["Properties"]["RetentionInDays"] == 90 for one in made.values())
    groups = {one["Properties"]["LogGroupName"] for one in made.values()}
    assert groups == wanted
    assert properties("edge", "Function")["FunctionName"] == "keybroker-edge"
    assert resolved(template("logs"), Home="false").keys() == {"Edge", "Access"}
    assert resolved(template("logs"), EdgeFunction="false").keys() == {"Public", "Admin", "Watcher", "AdminAccess"}


def test_two_keys_sign_and_none_of_them_can_leave_kms() -> None:
    found = of_type("keys", "AWS::KMS::Key")
    signing = [one["Properties"] for name, one in found.items() if name.startswith("SigningKey")]
    assert [(one["KeySpec"], one["KeyUsage"]) for one in signing] == [("ECC_NIST_P256", "SIGN_VERIFY")] * 2
    assert all("Origin" not in one and not one.get("MultiRegion") for one in signing)
    assert found["ProviderKeysKey"]["Properties"]["EnableKeyRotation"] is True
    assert {one["Properties"]["PendingWindowInDays"] for one in found.values()} == {30}


def test_a_zip_stays_for_the_next_roll_back() -> None:
    """No current zip ends: a failed update rolls back to the last one, however old."""
    (rule,) = properties("artefacts", "Bucket")["LifecycleConfiguration"]["Rules"]
    assert not {"ExpirationInDays", "ExpirationDate", "Prefix", "TagFilters"} & rule.keys()
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}


def test_bucket_is_private() -> None:
    """The bucket for the zips is private."""
    bucket = properties("artefacts", "Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (statement,) = properties("artefacts", "TlsOnly")["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.parametrize("name", TEMPLATES)
def test_resources_are_tagged(name: str) -> None:
    """Every resource that can be tagged is tagged."""
    without = {
        "AWS::ApiGateway::Account",
        "AWS::ApiGateway::BasePathMapping",
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::CloudFront::Function",
        "AWS::Events::Rule",
        "AWS::IAM::ManagedPolicy",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Version",
        "AWS::ElasticLoadBalancingV2::Listener",
        "AWS::Logs::MetricFilter",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
        "AWS::WAFv2::WebACLAssociation",
    }
    for key, one in resolved(template(name), **ADDRESS).items():
        if one["Type"] not in without:
            tags = one["Properties"]["Tags"]
            tags = tags if isinstance(tags, Mapping) else {tag["Key"]: tag["Value"] for tag in tags}
            assert {"application": "keybroker", "deployment": "keybroker"}.items() <= tags.items(), key


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_has_no_default_is_another_stack_s_output(name: str) -> None:
    asked = {key for key, one in template(name).get("Parameters", {}).items() if "Default" not in one}
    given = {"TablesKey", "ProviderKeysKey", "SigningKeyA", "SigningKeyB", "HomeRegion", "BrokerHost", "Topic"}
    given |= {"Api", "Url", "EdgeUrl"} if name == "probe" else set()
    given |= {"MintedKey", "Url"} if name == "minter" else set()
    if name == "gateway":  # `make deploy` does not deploy it: docs/gateway.md says what to give it
        given = {"Image", "Repository", "BrokerUrl", "Domain", "Certificate", "Vpc", "Subnets", "LoadBalancerSubnets"}
    assert asked <= given


def test_the_templates_are_all_that_there_are() -> None:
    assert {path.stem for path in cloudformation.INFRA.glob("*.yaml")} == set(TEMPLATES)
