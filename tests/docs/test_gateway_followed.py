"""docs/gateway.md's command for a machine, word by word but for what is the reader's own, serves a call over a stage's tables."""

from __future__ import annotations

import contextlib
import shlex
import ssl
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chalicelib.aws import clients
from tests import certificates
from tests.contracts.verbs import BROKER, Keys
from tests.faulty_dynamodb import door, tables_behind
from tests.gateway_stage import REGION, GatewayStage, gateway, provider
from tests.running import ROOT

pytestmark = pytest.mark.slow  # it starts four processes


def command() -> list[str]:
    """Return the options that the page gives the command."""
    page = (ROOT / "docs" / "gateway.md").read_text("utf-8").partition("## On a machine")[2]
    program, name, *options = shlex.split(page.partition("$ ")[2].partition("```")[0].replace("\\\n", " "))
    assert (program, name) == ("keybroker", "gateway")
    return options


def test_the_command_for_a_machine_serves(tmp_path: Path) -> None:
    """It listens with TLS beyond this machine, is ready, and a call with the stage's token reaches the provider."""
    with door() as opened, tables_behind(opened) as tables, provider() as origin:
        stage = GatewayStage(
            str(opened.client.meta.endpoint_url), tables.control.removesuffix("-control"), tables, Keys(tmp_path)
        )
        stage.fill(clients.make("secretsmanager", REGION), origin.origin)
        files = certificates.write(tmp_path / "tls")
        own = {"--region": REGION, "--stage": stage.name, "--issuer": BROKER, "--port": "0"}
        own |= {"--tls-certificate": str(files.certificate), "--tls-key": str(files.key)}
        options = command()
        assert own.keys() <= set(options)
        given = [own.get(before, word) for before, word in zip(["", *options], options, strict=False)]
        with gateway(stage, tmp_path, *given, wait=False) as one:
            port = urlsplit(one.url).port
            context = ssl.create_default_context(cafile=files.certificate)
            with contextlib.closing(HTTPSConnection(f"127.0.0.1:{port}", timeout=30, context=context)) as made:
                named = {"authorization": f"Bearer {stage.token()}", "content-type": "application/json"}
                made.request("POST", "/openai/v1/chat/completions", b'{"model": "m", "messages": []}', named)
                assert made.getresponse().status == 200
        assert len(origin.seen) == 1
