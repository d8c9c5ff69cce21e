"""The probe of a deployed stage: a scheduled function with no entry that measures how long a revocation takes at the real edge.

It is a caller like any other: it gets a token for its role's own identity, calls the edge by its URL, revokes the token as its
holder, and calls until it is refused. It may do nothing that other callers may not, but keep what it found. The grant that it
needs is in docs/operate.md: one that opens no call.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from chalicelib.admin.revocation_probe import ANSWER_BYTES, NAME, Kept, RevocationProbe, Seen, measure
from chalicelib.aws.cloudwatch import NAMESPACE
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.aws.edge_url import EdgeUrl
from chalicelib.aws.revocation_probes import DynamoKept
from chalicelib.errors import NotConfigured

EVERY = 300
"""Seconds between runs, as the template's schedule has them."""
SCOPE = "token"
"""What is revoked."""
_BROKER_SECONDS = 10.0
"""Seconds that the broker may take to answer: it may have to start."""
_NAMES = ("region", "home_region", "deployment", "counters", "url", "edge_url")

Sign = Callable[[str, bytes], Mapping[str, str]]
"""Returns the headers that sign a POST of this URL and JSON body."""


class ProbeConfig(NamedTuple):
    """What the function reads from environment variables: `KEYBROKER_` and the field's name in capitals."""

    region: str
    """`AWS_REGION`, which Lambda sets."""
    home_region: str
    """The region of the broker's API and the tables."""
    deployment: str
    """The prefix of all names; the metrics' dimension `service`."""
    counters: str
    """The table's name."""
    url: str
    """The broker's URL."""
    edge_url: str
    """The edge's URL."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> ProbeConfig:
        """Read it; raises NotConfigured for a variable that is missing or malformed."""
        found = {name: environ.get(f"KEYBROKER_{name.upper()}", "") for name in _NAMES}
        found["region"] = environ.get("AWS_REGION", "")
        for name, value in found.items():
            if not value or (name.endswith("url") and not value.startswith("https://")):
                raise NotConfigured(hint=f"KEYBROKER_{name.upper()} is missing or malformed")
        return cls(**found)


class NoAnswer(Exception):  # noqa: N818  it is what was got
    """The broker did not do what it was asked: its status, or the kind of fault. SECURITY: never its text."""


class Steps:
    """`chalicelib.admin.revocation_probe.Steps` at a broker and an edge. `revoke` raises NoAnswer."""

    def __init__(self, config: ProbeConfig, sign: Sign) -> None:
        """Get a token; raises NoAnswer."""
        self._url, self._edge = config.url, EdgeUrl(config.edge_url)
        url, asked = f"{self._url}/token/iam", json.dumps({"audience": NAME}).encode()
        token = _post(url, asked, sign(url, asked)).get("access_token")
        if not isinstance(token, str) or not token:
            raise NoAnswer("no token")
        self._token = token

    def call(self) -> Seen:
        """See `Steps.call`."""
        return self._edge.call(self._token, SCOPE)

    def revoke(self) -> None:
        """See `Steps.revoke`: as any holder does (RFC 7009)."""
        _post(f"{self._url}/revoke", json.dumps({"token": self._token}).encode(), {"content-type": "application/json"})


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the JSON object that answers; raises NoAnswer for anything but 200 with one."""
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPSConnection(parts.netloc, timeout=_BROKER_SECONDS)) as connection:
        try:
            connection.request("POST", parts.path, body, dict(headers))
            answer = connection.getresponse()
            found = json.loads(answer.read(ANSWER_BYTES)) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as fault:
            raise NoAnswer(type(fault).__name__) from None
    if not isinstance(found, dict):
        raise NoAnswer(str(answer.status))
    return found


def handler(_event: Mapping[str, object], _context: object) -> None:
    """Measure once. Whatever fails is raised, or an `unknown` result; either way the alarm on silence rings in the end."""
    config = ProbeConfig.read(os.environ)
    tables = Tables(make_client(config.home_region), "", config.counters, "")
    session: Any = botocore.session.get_session()

    def sign(url: str, body: bytes) -> Mapping[str, str]:
        request = AWSRequest("POST", url, data=body, headers={"content-type": "application/json"})
        SigV4Auth(session.get_credentials().get_frozen_credentials(), "execute-api", config.home_region).add_auth(
            request
        )
        return dict(request.headers.items())

    run(config, DynamoKept(tables, f"edge from {config.region}", EVERY), sign, int(time.time()), sys.stdout.write)


def run(config: ProbeConfig, kept: Kept, sign: Sign, now: int, write: Callable[[str], object]) -> None:
    """Measure, unless another run of this period does; keep it, and write its metrics. now: epoch seconds. Raises Unavailable."""
    if not kept.begin(now):
        return
    reason = ""
    try:
        found = measure(Steps(config, sign), kept.where, now, time.monotonic, time.sleep)
    except NoAnswer as fault:
        found, reason = RevocationProbe(kept.where, now, "unknown", None, 0), str(fault)
    # First, so that tables that fail silence no alarm.
    write(json.dumps(embedded(found, config.deployment)) + "\n")
    line = {
        "level": "INFO" if found.outcome == "held" else "WARNING",
        "service": config.deployment,
        "message": "probed",
    }
    write(json.dumps({**line, **found.to_json(), **({"reason": reason} if reason else {})}) + "\n")
    kept.keep(found)


def embedded(found: RevocationProbe, deployment: str) -> Mapping[str, object]:
    """Return a result's metrics in CloudWatch's embedded format, with the dimension `service`."""
    values: dict[str, float] = {
        "RevocationsMeasured": int(found.outcome != "unknown"),
        "RevocationsLate": int(found.outcome in ("late", "never")),
    }
    if found.seconds is not None:
        values["RevocationSeconds"] = found.seconds
    named = [{"Name": name, "Unit": "Seconds" if name == "RevocationSeconds" else "Count"} for name in values]
    about = {"Namespace": NAMESPACE, "Dimensions": [["service"]], "Metrics": named}
    return {"_aws": {"Timestamp": found.at * 1000, "CloudWatchMetrics": [about]}, "service": deployment, **values}
