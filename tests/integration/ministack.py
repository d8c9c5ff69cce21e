"""ministack, an AWS emulator in one process, started from a separate environment (created by `make test-dynamodb`)."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.config
import botocore.session
import pytest

from chalicelib.aws.dynamodb import Tables
from tests.contracts import tables_template

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PYTHON = Path(__file__).resolve().parents[2] / ".venv-ministack" / "bin" / "python"
REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
"""Made up, so that real credentials never sign a test's request."""
START_SECONDS = 30.0
STARTS = 3
"""Times that a port is looked for: between finding and binding it, another process may take it."""

_NAMES = itertools.count(1)
# The pipe closes with the process that started it, even one that was killed, and ministack ends with the pipe.
_MAIN = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from ministack.app import main
sys.argv = ["ministack"]
main()
"""


@contextlib.contextmanager
def ministack(**environment: str) -> Iterator[str]:
    """Start it on this machine alone, on a free port, and end it; gives its URL. Without it, its tests are skipped.

    environment: what else it is to know, e.g. `AUTH="true"` to have it verify signatures and enforce policies.
    """
    if not PYTHON.exists():
        pytest.skip("there is no .venv-ministack: nothing was tried over ministack (make test-dynamodb brings it)")
    with tempfile.TemporaryDirectory() as directory:
        process, url = _started(Path(directory), environment)
        try:
            yield url
        finally:
            _end(process)


def _started(directory: Path, more: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    log = directory / "log"
    for _ in range(STARTS):
        port = _free_port()
        with log.open("ab") as output:
            process = subprocess.Popen(
                [PYTHON, "-c", _MAIN],
                env={**_environment(port, directory), **more},
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        url = f"http://127.0.0.1:{port}"
        if _answers(process, f"{url}/_ministack/health"):
            return process, url
        _end(process)
    raise RuntimeError(f"ministack did not start:\n{log.read_text()[-2000:]}")


def _environment(port: int, directory: Path) -> Mapping[str, str]:
    """Return all that it is to know: nothing of the person's own environment, credentials least of all."""
    return {
        "PATH": os.defpath,
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
        "MINISTACK_REGION": REGION,
        "LOG_LEVEL": "WARNING",
        "IOT_MTLS_ENABLED": "0",  # it would listen on a fixed port, too
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{directory}/none",  # it would clear up containers
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    ends = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200 and process.poll() is None
        time.sleep(0.02)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)
    if process.stdin is not None:
        process.stdin.close()


def client(service: str, endpoint: str) -> Any:  # noqa: ANN401  the client of any service
    """Return a client that many threads may share and that waits longer than the product would, for busy machines."""
    bounds = botocore.config.Config(
        connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 1}, max_pool_connections=64
    )
    session: Any = botocore.session.get_session()
    return session.create_client(service, REGION, endpoint_url=endpoint, config=bounds, **CREDENTIALS)


@contextlib.contextmanager
def fresh_tables(dynamodb: DynamoDBClient) -> Iterator[Tables]:
    """Make three empty tables as infra/tables.yaml lays them out, and remove them."""
    tables = tables_template.create_tables(dynamodb, f"kb{next(_NAMES)}")
    try:
        yield tables
    finally:
        for name in (tables.control, tables.counters, tables.ledger):
            dynamodb.delete_table(TableName=name)


def deployed_tables(endpoint: str, prefix: str = "keybroker") -> Tables:
    """Deploy infra/tables.yaml through CloudFormation, in a stack of the prefix's name.

    ministack leaves out TTL, point-in-time recovery and the tables' encryption without a word. TTL is switched on
    afterwards, as the template has it; the other two change nothing that a program could see.
    """
    stacks = client("cloudformation", endpoint)
    stacks.create_stack(
        StackName=prefix,
        TemplateBody=tables_template.PATH.read_text("utf-8"),
        Parameters=[{"ParameterKey": "Prefix", "ParameterValue": prefix}],
    )
    waiter = stacks.get_waiter("stack_create_complete")
    waiter.wait(StackName=prefix, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    dynamodb = client("dynamodb", endpoint)
    for properties in tables_template.tables().values():
        name, ttl = tables_template.table_name(properties, prefix), properties["TimeToLiveSpecification"]
        if dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    return tables_template.named(dynamodb, prefix)
