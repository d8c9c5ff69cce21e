"""The access log of the edge: which fields, and what the function at viewer-request writes into each line, run in Node."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.providers import header_names
from chalicelib.providers.presets import PROVIDERS
from tests.cloudformation import resolved, template

NODE = shutil.which("node")
ON = {"AccessLog": "true", "TopPrincipals": "true", "AdditionalMetrics": "true", "Alarms": "all", "Topic": "arn:topic"}
LINE = 800
"""Bytes that CloudFront keeps of what a function logs."""
SIGNATURE = "c2lnbmF0dXJlLW9mLXRoZS10b2tlbi1uZXZlci1sb2dnZWQ"
CLAIMS = {
    "sub": "https://ci.example.com|repository_id:1234",
    "grant": "app-ci",
    "aud": "openai",
    "jti": "id-1",
    "scope": "POST:/v1/secret-scope",
}
_RUN = """
import fs from 'fs';
import cf from 'cloudfront';
const events = JSON.parse(fs.readFileSync(0, 'utf8'));
console.log(JSON.stringify(events.map(function (event) {
  const logged = [], before = JSON.stringify(event.request);
  cf.logCustomData = function (text) { logged.push(text); };
  const answer = handler(event);
  return {logged, unchanged: answer === event.request && JSON.stringify(answer) === before};
})));
"""


def resources(**parameters: str) -> Mapping[str, Any]:
    return resolved(template("edge"), **parameters)


def segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def token(claims: object, signature: str = SIGNATURE) -> str:
    return f"{segment(b'{}')}.{segment(json.dumps(claims).encode())}.{signature}"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function as it is deployed, with a module `cloudfront` as CloudFront has one."""
    place = tmp_path_factory.mktemp("function")
    (place / "node_modules" / "cloudfront").mkdir(parents=True)
    (place / "node_modules" / "cloudfront" / "index.mjs").write_text("export default {};")
    package = {"name": "cloudfront", "exports": "./index.mjs"}
    (place / "node_modules" / "cloudfront" / "package.json").write_text(json.dumps(package))
    code = resources(**ON)["CallNames"]["Properties"]["FunctionCode"]
    (place / "function.mjs").write_text(code + _RUN.replace("import cf from 'cloudfront';\n", ""))
    return place / "function.mjs"


QUERY = "?"
"""Begins the name of a parameter of the query, where `run` takes headers."""


def run(program: Path, *requests: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what is logged for calls with these headers and parameters, and whether the request went on as it came."""
    assert NODE is not None
    events = [
        {
            "request": {
                "method": "POST",
                "uri": "/x",
                "headers": {name: {"value": one} for name, one in sent.items() if not name.startswith(QUERY)},
                "querystring": {name[1:]: {"value": one} for name, one in sent.items() if name.startswith(QUERY)},
            }
        }
        for sent in requests
    ]
    done = subprocess.run(
        [NODE, str(program)], input=json.dumps(events), capture_output=True, text=True, timeout=60, check=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


HOSTILE: Mapping[str, object] = {
    "newlines and controls": {**CLAIMS, "sub": 'a\r\nb\x00\x1b[31m\u2028"},{"sub":"admin\\'},
    "not ASCII": {**CLAIMS, "sub": "\u00e9\U0001f600" * 100},
    "long": {name: "x" * 7000 if name == "sub" else "y" * 200 for name in CLAIMS},
    "quotes and backslashes": dict.fromkeys(CLAIMS, '"\\' * 100),
    "no texts": {"sub": {"a": 1}, "grant": ["x"], "aud": None, "jti": 7},
    "prototype": {"__proto__": {"sub": "admin"}, "constructor": "x"},
    "empty": {},
}


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_the_access_log_gets_names_and_never_a_token(program: Path) -> None:
    """A call's line has four names of the token, wherever the edge takes it; nothing else of it, and the call is unchanged."""
    text, other = token(CLAIMS), token({**CLAIMS, "sub": "another"})
    sent = [
        {"authorization": f"Bearer {text}"},
        *({name: text} for name in sorted(header_names.TOKEN_HEADERS)),
        *({f"{QUERY}{one.token_parameter}": text} for one in PROVIDERS.values() if one.token_parameter),
        {"x-goog-api-key": text, f"{QUERY}key": other},  # one in the query counts only where no header has one
        {"authorization": "Bearer a.%%%", f"{QUERY}key": text, f"{QUERY}alt": "sse"},
    ]
    for found in run(program, *sent):
        assert found["unchanged"]
        [logged] = found["logged"]
        names = {"sub": CLAIMS["sub"], "grant": "app-ci", "key": "openai", "jti": "id-1"}
        assert json.loads(logged) == {"unverified": names}
        for secret in (*text.split("."), SIGNATURE[:12], "secret-scope"):
            assert secret not in logged


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_a_hostile_token_cannot_break_its_line(program: Path) -> None:
    """Whatever a token holds, its line is one of printable ASCII, of four texts, within CloudFront's 800 bytes."""
    sent = [
        {name: f"{scheme}{token(claims)}"}
        for name, scheme in (("authorization", "Bearer "), (f"{QUERY}key", ""))
        for claims in HOSTILE.values()
    ]
    for what, found in zip([*HOSTILE, *HOSTILE], run(program, *sent), strict=True):
        assert found["unchanged"], what
        for logged in found["logged"]:
            assert logged.isascii(), what
            assert logged.isprintable(), what
            assert len(logged) <= LINE, what
            names = json.loads(logged)["unverified"]
            assert names.keys() == {"sub", "grant", "key", "jti"}, what
            assert all(isinstance(one, str) and '"' not in one and "\\" not in one for one in names.values()), what
            assert names["sub"] != "admin", what


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_what_is_no_token_logs_nothing(program: Path) -> None:
    """No token, one too large, and one that cannot be read log nothing; no call is changed or failed."""
    deep = segment(b"[" * 6000)
    sent = [
        {},
        {"authorization": "Bearer sk-a-provider-s-key"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": f"Bearer a.{'b' * 100_000}.c"},
        {"authorization": "Bearer a.%%%.c"},
        {"authorization": f"Bearer a.{segment(b'null')}.c"},
        {"authorization": f"Bearer a.{segment(bytes(range(128, 256)))}.c"},
        {"authorization": f"Bearer a.{deep}.c"},
        {"authorization": "Bearer .."},
        {f"{QUERY}key": "AIzaSy-a-provider-s-key"},
        {f"{QUERY}key": f"a.{'b' * 100_000}.c"},
        {f"{QUERY}key": "a.%25%25.c"},
        {f"{QUERY}token": token(CLAIMS)},  # the edge takes none there
    ]
    for headers, found in zip(sent, run(program, *sent), strict=True):
        assert found == {"logged": [], "unchanged": True}, headers


def test_the_fields_of_the_access_log() -> None:
    """The log has these fields alone: no query, cookie, referer or path, where a token or a file's name may be."""
    fields = resources(**ON)["Access"]["Properties"]["RecordFields"]
    assert fields == [
        "timestamp(ms)",
        "x-edge-request-id",
        "x-edge-location",
        "cs-method",
        "sc-status",
        "sc-bytes",
        "cs-bytes",
        "time-taken",
        "time-to-first-byte",
        "origin-fbl",
        "origin-lbl",
        "x-edge-detailed-result-type",
        "cache-behavior-path-pattern",
        "viewer-request-log-data",
    ]


def test_the_access_log_is_written_by_aws_alone() -> None:
    """Only CloudWatch's delivery, for this account, writes to the log group of `logs`, which exists before it."""
    found = resources(**ON)
    [statement] = found["AccessWriter"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "delivery.logs.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    group = resolved(template("logs"))["Access"]["Properties"]["LogGroupName"]
    assert found["AccessDestination"]["Properties"]["DestinationResourceArn"].endswith(f":log-group:{group}")
    assert f":log-group:{group}:log-stream:*" in statement["Resource"]
    assert set(template("edge")["Resources"]["Access"]["DependsOn"]) == {"AccessSource", "AccessWriter"}


def test_both_functions_fit_one_distribution() -> None:
    """Names are taken at viewer-request and addresses changed at viewer-response: one function each, both CloudFront's."""
    default = resources(**ON)["Distribution"]["Properties"]["DistributionConfig"]["DefaultCacheBehavior"]
    assert [one["EventType"] for one in default["FunctionAssociations"]] == ["viewer-request", "viewer-response"]
    assert [one["EventType"] for one in default["LambdaFunctionAssociations"]] == ["origin-request"]
    function = resources(**ON)["CallNames"]["Properties"]
    assert (len(function["FunctionCode"]) < 10_240, function["AutoPublish"]) == (True, True)
    assert function["FunctionConfig"]["Runtime"] == "cloudfront-js-2.0"


def test_what_costs_is_off_unless_it_is_asked_for() -> None:
    """Without a choice there is no access log, no function for it, no further metric, no ranking and no alarm."""
    kinds = {one["Type"] for one in resources().values()}
    assert not {kind for kind in kinds if kind.startswith(("AWS::Logs::", "AWS::CloudWatch::"))}
    assert "AWS::CloudFront::MonitoringSubscription" not in kinds
    assert "CallNames" not in resources()
    assert "BusiestPrincipals" not in resources(TopPrincipals="true"), "there is no log to rank"


def test_principals_are_ranked_by_admitted_calls() -> None:
    """What the edge's function answered itself may carry any name, so those calls rank nobody."""
    body = json.loads(resources(**ON)["BusiestPrincipals"]["Properties"]["RuleBody"])
    assert body["LogGroupNames"] == [resolved(template("logs"))["Access"]["Properties"]["LogGroupName"]]
    assert body["Contribution"]["Keys"] == ["$.unverified.sub", "$.unverified.grant"]
    [only] = body["Contribution"]["Filters"]
    assert only == {
        "Match": "$.x-edge-detailed-result-type",
        "NotIn": ["MissGeneratedResponse", "LambdaGeneratedResponse"],
    }


def test_alarms_of_the_edge() -> None:
    """Of CloudFront's own metrics, in us-east-1: the function's failures are essential, the share of errors is one of all."""
    alarms = {
        choice: {name for name, one in resources(Alarms=choice).items() if one["Type"] == "AWS::CloudWatch::Alarm"}
        for choice in ("none", "essential", "all")
    }
    assert alarms == {"none": set(), "essential": {"FunctionFails"}, "all": {"FunctionFails", "ServerErrors"}}
    assert resources(**ON)["FunctionFails"]["Properties"]["AlarmActions"] == ["arn:topic"]
    assert "AlarmActions" not in resources(Alarms="all")["FunctionFails"]["Properties"]
