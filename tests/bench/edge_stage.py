"""A zip's content, unpacked and not to be written to, with the state that it needs behind it, in ministack."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.aws.config import EdgeConfig
from chalicelib.aws.endpoints import ROOTS_FILE
from chalicelib.aws.provider_key_store import SecretsManagerKeyStore
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.providers.keys import ProviderKey
from chalicelib.quota import Limit
from infra import lock
from infra.edge import botocore_data
from infra.edge.__main__ import WHEELS
from infra.edge.contents import byte_compile, write_contents
from infra.edge.dependencies import ROOT, reachable
from infra.edge.reproducible_zip import write_zip
from infra.edge.wheels import PYTHON, wheels
from tests.bench.tls_front import tls_front
from tests.chalicelib.issuers.test_fetch import certificate
from tests.contracts import dynamodb_adapters, samples, tables_template
from tests.contracts.adapters import Adapters, Control
from tests.contracts.verbs import BROKER, Keys, Verbs
from tests.integration import ministack

KEY = ProviderKey("0123456789abcdefghijkl", "https://api.openai.com", "authorization", "Bearer ", "sk-made-up")
_SENT = {
    "User-Agent": "OpenAI/Python 3.54.0",
    "Via": "2.0 2afae0d44e2540f472c0635ab62c232b.cloudfront.net (CloudFront)",
    "X-Forwarded-For": "203.0.113.178",
    "Host": "origin.invalid",
    "Content-Type": "application/json",
    "Content-Length": "62",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, br",
    "X-Stainless-Retry-Count": "0",
    "X-Stainless-Read-Timeout": "600",
    "X-Stainless-Lang": "python",
    "X-Stainless-Package-Version": "3.54.0",
    "X-Stainless-Os": "Linux",
    "X-Stainless-Arch": "x64",
    "X-Stainless-Runtime": "CPython",
    "X-Stainless-Runtime-Version": "3.11.7",
    "X-Stainless-Async": "false",
}
"""What OpenAI's SDK sends, as CloudFront passes it on."""
SERVICES = ("dynamodb", "secretsmanager")
_MANY = (Limit(1_000_000, "minute"),)
FEW = 40
"""Calls a day that the grant `few` admits."""


@dataclass(frozen=True, slots=True)
class Stage:
    """task: the unpacked zip. old: the same with botocore, and what goes with it. size: the zip's bytes. environment: what the function is told; over_tls: the same for AWS over TLS, as it is. jwk: of its tokens' key.

    verbs, control: the broker, and what administrators write; its policy has the grants `ci` and `few`, whose calls are limited.
    """

    task: Path
    old: Path
    size: int
    environment: Mapping[str, str]
    over_tls: Mapping[str, str]
    tokens: Sequence[str]
    jwk: Mapping[str, str]
    verbs: Verbs
    control: Control

    def event(self, number: int) -> dict[str, Any]:
        """Return a call with one of the tokens, as CloudFront brings it."""
        return self.event_of(self.tokens[number % len(self.tokens)])

    def event_of(self, token: str) -> dict[str, Any]:
        """Return a call with a token, as CloudFront brings it."""
        sent = {**_SENT, "Authorization": f"Bearer {token}"}
        request = {
            "clientIp": "203.0.113.178",
            "headers": {name.lower(): [{"key": name, "value": value}] for name, value in sent.items()},
            "method": "POST",
            "origin": {"custom": {"domainName": "origin.invalid", "keepaliveTimeout": 5, "readTimeout": 120}},
            "querystring": "",
            "uri": "/openai/v1/chat/completions",
        }
        return {"Records": [{"cf": {"config": {"requestId": "4TyzHTaYWb1GX1qTfsHhEqV6HUDd=="}, "request": request}}]}


@contextlib.contextmanager
def stage(url: str, tokens: int, prefix: str = "kbbench") -> Iterator[Stage]:
    """Put a policy, a key and so many tokens into the ministack at this URL, and build and unpack the zip.

    prefix: of the tables and secrets.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tables = tables_template.create_tables(ministack.client("dynamodb", url), prefix)
        config = EdgeConfig(
            region=ministack.REGION,
            control=tables.control,
            counters=tables.counters,
            secrets_region=ministack.REGION,
            secrets_prefix=prefix,
            issuer=BROKER,
            edge_url="https://edge.example.com",
        )
        (directory / "content").mkdir()
        write_contents(directory / "content", json.dumps(config._asdict()), WHEELS)
        write_zip(directory / "content", directory / "edge.zip")
        with zipfile.ZipFile(directory / "edge.zip") as packed:
            packed.extractall(directory / "task")
        shutil.copytree(directory / "task", directory / "old")
        _add_botocore(directory / "old")
        own = certificate(directory, "localhost")
        for roots in (directory / "task" / ROOTS_FILE, directory / "old" / "botocore" / "cacert.pem"):
            roots.write_bytes(roots.read_bytes() + _public(own))
        _write_protect(directory / "task")
        keys = Keys(directory)
        environment = {"AWS_ENDPOINT_URL": url, "AWS_REGION": ministack.REGION}
        environment |= {key.upper(): value for key, value in ministack.CREDENTIALS.items()}
        adapters = dynamodb_adapters.over(tables)
        DynamoSigningKeys(tables).publish(keys.broker.public_jwk)
        verbs = Verbs(adapters, keys)
        made = _fill(adapters, verbs, url, prefix, tokens)
        with tls_front(url, own) as front:
            yield Stage(
                directory / "task",
                directory / "old",
                (directory / "edge.zip").stat().st_size,
                environment,
                {**environment, "AWS_ENDPOINT_URL": front},
                made,
                keys.broker.public_jwk,
                verbs,
                adapters.control,
            )


def _public(file: Path) -> bytes:
    """Return a file's certificate, without its key."""
    text = file.read_bytes()
    return text[text.index(b"-----BEGIN CERTIFICATE") :]


def _add_botocore(task: Path) -> None:
    """Add botocore pruned as the broker's zip has it, its own dependencies, and our modules over it."""
    names = ("botocore", "urllib3", "jmespath", "python-dateutil", "six")
    versions = {name: importlib.metadata.version(name) for name in names}
    for distribution, wheel in wheels(versions, WHEELS / PYTHON, lock.current()).items():
        with zipfile.ZipFile(io.BytesIO(wheel)) as packed:
            for name in (
                botocore_data.select(packed.namelist(), SERVICES) if distribution == "botocore" else packed.namelist()
            ):
                packed.extract(name, task)
    endpoints = task / botocore_data.ENDPOINTS
    endpoints.write_bytes(botocore_data.trim_endpoints(endpoints.read_bytes(), SERVICES))
    for name in reachable("chalicelib.aws.botocore_client") | reachable("chalicelib.aws.clients"):
        for file in ROOT.glob(f"{name.replace('.', '/')}.py"):
            shutil.copy(file, task / file.relative_to(ROOT))
    byte_compile(task)


def _fill(adapters: Adapters, verbs: Verbs, url: str, prefix: str, tokens: int) -> Sequence[str]:
    now = int(time.time())
    verbs.list_signing_keys()
    few = samples.grant("few", calls=(Limit(FEW, "day"),), issued=_MANY)
    samples.put_in_force(adapters.control, samples.grant(calls=_MANY, issued=_MANY), few)
    store = SecretsManagerKeyStore(lambda: ministack.client("secretsmanager", url), prefix, "alias/aws/secretsmanager")
    store.put("openai", KEY)
    adapters.control.set_key("openai", samples.key_version(KEY.version), samples.event("key.set", key="openai"))
    found = [verbs.exchange(verbs.subject_token("build-1", now), "ci", now) for _ in range(tokens)]
    return [str(one) for one in found]


def _write_protect(task: Path) -> None:
    for path in (task, *task.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
