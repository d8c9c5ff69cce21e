"""Tries the HTTP API against its own OpenAPI document: schemathesis makes up requests, a running Keybroker answers.

`make test-api` runs it: `python -m tests.api.run SCHEMATHESIS`, the program of an environment of its own. The document is
the published one with examples of this run put in, so that each route is seen to do its work and not to refuse only.
Exit codes: 0 all is as documented; 1 an answer is not, a route never did its work, or it took too long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chalicelib.openapi import document as openapi
from chalicelib.openapi.routes import ROUTES
from local.simulator.callers import ADMIN_ARN
from tests.running import JWT, POLICY, TOKEN_EXCHANGE, Running, start

HERE = Path(__file__).resolve().parent
SEED = "1"
EXAMPLES = "100"
"""Requests that are made up for each route in each of the phases that make some up."""
SECONDS = 300

WITH_IAM = POLICY + (
    f'  admin-iam:\n    key: openai\n    to: {{aws: "{ADMIN_ARN}"}}\n    scope: ["GET:/v1/models"]\n'
    "    quota: {tokens: 1000/hour, calls: 10/minute}\n"
)


def main(schemathesis: str) -> int:
    """Run everything and return the exit code."""
    with tempfile.TemporaryDirectory() as directory, start(policy=WITH_IAM) as running:
        document, answered = Path(directory) / "openapi.json", Path(directory) / "answered"
        document.write_text(json.dumps(with_examples(running)))
        answered.touch()
        command = [
            str(Path(schemathesis).absolute()),
            "--config-file",
            str(HERE / "schemathesis.toml"),
            "run",
            document.name,
        ]
        command += ["--url", running.broker, "--seed", SEED, "--max-examples", EXAMPLES]
        command += ["--generation-database", "none", "--warnings", "off", "--no-color", "--output-truncate", "true"]
        try:
            # There, for it keeps notes of its own where it is started.
            ended = subprocess.run(
                command, cwd=directory, env=environment(running, answered), check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"error: not done after {SECONDS} s\n")
            return 1
        idle = never_done(Counter(answered.read_text().splitlines()))
        if ended.returncode or idle:
            sys.stderr.writelines(f"{line}\n" for line in faults(running.log))
        return 1 if ended.returncode or idle else 0


def environment(running: Running, answered: Path) -> dict[str, str]:
    """What schemathesis and tests/api/hooks.py read."""
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": running.admin["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": running.admin["secret_access_key"],
        "AWS_REGION": running.admin["region"],
        "KEYBROKER_API_ANSWERED": str(answered),
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
    }


def with_examples(running: Running) -> dict[str, Any]:
    """Return the published document, in which a request that does its work is an example of each schema."""
    document: dict[str, Any] = json.loads(openapi.text(ROUTES))
    token = running.token("8001")
    running.complete(token)
    policy = {"text": WITH_IAM, "allow": []}
    subject = {"subject_token": running.mint("8001"), "subject_token_type": JWT}
    bearer = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": running.mint("8001")}
    bodies: Mapping[str, object] = {
        "RevocationRequest": {"scope": "principal", "id": running.sub("8009"), "reason": "a test", "unseen": True},
        "PinRequest": {"unique_id": "AROAEXAMPLE123456789"},
        "KeyRequest": {"value": "sk-made-up-0123456789abcdef"},
        "PolicySent": policy,
        "ExplainRequest": {"token": running.mint("8001"), "key": "openai"},
        "ExchangeRequest": {"grant_type": TOKEN_EXCHANGE, "audience": "openai", **subject},
        "IamRequest": {"audience": "openai"},
        "AnthropicRequest": {**bearer, "federation_rule_id": "claude"},
        "RevokeRequest": {"token": token},
    }
    for name, example in bodies.items():
        document["components"]["schemas"][name]["examples"] = [example]
    parameters = {
        "principal_id": "arn:aws:iam::123456789012:role/app",
        "revocation_id": running.revoke("principal", running.sub("8008")),
        "name": "openai",
        "If-Match": '"1"',
    }
    for route in (route for methods in document["paths"].values() for route in methods.values()):
        for one in route["parameters"]:
            if one["name"] in parameters:
                one["example"] = parameters[one["name"]]
    running.administer(
        "POST", "/admin/principals/arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fapp/pin", bodies["PinRequest"]
    )
    return document


def never_done(answered: Counter[str]) -> list[str]:
    """Print how each route was answered, and return those that never did their work."""
    routes: dict[str, Counter[str]] = {}
    for line, times in answered.items():
        route, _, status = line.rpartition(" ")
        routes.setdefault(route, Counter())[status] += times
    for route, statuses in sorted(routes.items()):
        told = ", ".join(f"{times} x {status}" for status, times in sorted(statuses.items()))
        sys.stdout.write(f"{route:52} {told}\n")
    asked = {f"{route.method} {route.path}" for route in ROUTES}
    idle = sorted(asked - {route for route, statuses in routes.items() if any(one[0] == "2" for one in statuses)})
    sys.stderr.writelines(f"error: never did its work: {route}\n" for route in idle)
    return idle


def faults(log: Path) -> list[str]:
    """Return what the log says of faults of ours: lines of a refusal with a status of 500 and above, and no JSON at all."""
    lines = log.read_text().splitlines()
    return [line for line in lines if not line.startswith("{") or json.loads(line).get("status", 0) >= 500]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
