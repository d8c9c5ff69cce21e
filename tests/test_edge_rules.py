"""That our function does what CloudFront acts on, and holds nothing that a revocation would have to reach."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edge
from chalicelib.edge.admission import Edge
from local.provider_key_file import ProviderKeyFile
from local.signing_key_file import SigningKeyFile
from local.simulator.function_result import GeneratedResponse, OriginRequest
from local.simulator.origin_request_event import Event
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import StateFile
from tests.edge_door import ask, door, talk
from tests.golden_events import DOCUMENTED, asked, golden, kept
from tests.parts import BROKER, KEY_VALUE, NOW, SUB, Parts

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_events(parts: Parts, name: str) -> None:
    """CloudFront's documented events get results that CloudFront accepts."""
    handle, log = _handler(parts.directory)
    event = golden(name, parts.token())
    order = kept(event, handle(event, None))
    assert isinstance(order, OriginRequest)
    assert order.address == "https://api.openai.com:443"
    assert dict(order.headers)["authorization"] == f"Bearer {KEY_VALUE}"
    refusal = kept(event, handle(golden(name), None))
    assert isinstance(refusal, GeneratedResponse)
    assert (refusal.status, len(log)) == (401, 1)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_custom_headers_are_dropped(parts: Parts, name: str) -> None:
    """The distribution's custom headers never reach the provider."""
    # SECURITY: they are the distribution's own configuration, and may hold what opens its default origin.
    handle, _ = _handler(parts.directory)
    event = golden(name, parts.token())
    secret = {"x-origin-secret": [{"key": "X-Origin-Secret", "value": "of-the-distribution"}]}
    asked(event)["origin"]["custom"]["customHeaders"] = secret
    result = handle(event, None)
    assert result["origin"]["custom"]["customHeaders"] == {}
    assert "of-the-distribution" not in json.dumps(result)


def test_simulated_event_shape() -> None:
    """An event of the simulated CloudFront has the members and types of a documented one."""
    seen: list[Event] = []

    def handler(event: Event, _context: object) -> dict[str, Any]:
        seen.append(event)
        return {"status": "204"}

    async def run() -> None:
        async with door(handler) as port:
            await talk(port, ask("GET /openai/v1/models", "User-Agent: curl/8.5.0", "Authorization: Bearer TOKEN"))

    asyncio.run(run())
    assert _shape(seen[0]) == _shape(golden("documented"))


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {name: _shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


def test_revocation_reaches_all_handlers(parts: Parts) -> None:
    """Every handler over one store sees a revocation at its next call."""
    # SECURITY: a handler remembers nothing that a revocation has to reach: there are hundreds of them, and no way to tell.
    token = parts.token()
    handlers = [_handler(parts.directory)[0] for _ in range(3)]
    assert [_status(handle(golden("documented", token), None)) for handle in handlers] == ["on"] * 3
    revocation = parts.revoke("principal", SUB)
    assert [_status(handle(golden("documented", token), None)) for handle in handlers] == ["403"] * 3
    parts.restore(revocation)
    assert [_status(handle(golden("documented", token), None)) for handle in handlers] == ["401"] * 3
    fresh = parts.token()
    assert [_status(handle(golden("documented", fresh), None)) for handle in handlers] == ["on"] * 3


def test_rotation_reaches_all_handlers(parts: Parts) -> None:
    """Every handler over one store sends a rotated key at its next call."""
    token = parts.token()
    handlers = [_handler(parts.directory)[0] for _ in range(2)]
    for value in (KEY_VALUE, "sk-the-next", "sk-the-one-after"):
        parts.set_key("openai", value)
        sent = [handle(golden("documented", token), None)["headers"]["authorization"] for handle in handlers]
        assert [one[0]["value"] for one in sent] == [f"Bearer {value}"] * 2


def _status(result: dict[str, Any]) -> str:
    return str(result.get("status", "on"))


def _handler(directory: Path) -> tuple[Callable[[Event, object], dict[str, Any]], list[str]]:
    """A handler with everything of its own, as in a process of its own, over a directory; and its log."""
    log: list[str] = []
    edge_state = SqliteEdgeState(StateFile(directory / "state.db").bind())
    signing, keys = SigningKeyFile(directory / "signing-key.pem"), ProviderKeyFile(directory / "provider-keys.json")
    ports = edge.Ports(Edge(edge_state, signing, keys, BROKER), lambda: NOW, log.append)
    return edge.make_handler(lambda: ports), log


WITHOUT_ENVIRONMENT = """
import json, os, sys
from pathlib import Path
from tests.golden_events import golden
from tests.test_edge_rules import _handler

class Nothing(dict):
    def __getitem__(self, name): raise AssertionError(f"{name} was read")
    def get(self, name, default=None): raise AssertionError(f"{name} was read")
    def __contains__(self, name): raise AssertionError(f"{name} was asked for")
    def __iter__(self): raise AssertionError("all were read")

assert set(os.environ) <= {"LC_CTYPE"}, set(os.environ)
handle, log = _handler(Path(sys.argv[1]))
os.environ = os.environb = Nothing()
found = [handle(golden("documented", token), None) for token in (sys.argv[2], "made-up")]
print(json.dumps([found[0]["headers"]["authorization"][0]["value"], found[1]["status"], len(log)]))
"""


def test_no_environment_is_read(parts: Parts) -> None:
    """The function reads no environment variable."""
    # Lambda@Edge has no environment variables: one that is read would be missing there, and there alone.
    command = [sys.executable, "-c", WITHOUT_ENVIRONMENT, str(parts.directory), parts.token()]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [f"Bearer {KEY_VALUE}", "401", 1]


def test_edge_imports_only_its_rooms() -> None:
    """A cold start of the edge loads no room, and so no refusal, that only the broker's doors need."""
    program = "import sys, edge; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".")[1] for name in done.stdout.split() if name.startswith("chalicelib.")}
    assert "edge" in loaded
    assert loaded & {"admin", "exchange", "http", "issuers", "openapi"} == set()
