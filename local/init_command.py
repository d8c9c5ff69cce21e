"""`python -m local init`, which `keybroker init` runs: makes what a server needs, once.

That is a configuration file, a first policy, a state directory and the administrator's credentials. stdout stays empty.
Exit codes: 0 made, 1 an error, and then nothing that was there has changed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Any

from chalicelib.errors import Unavailable
from chalicelib.policy.faults import InvalidPolicyError

_CONFIGURATION = """\
# The configuration of `keybroker serve --config` (docs/self-host.md). Paths are relative to this file.
# `keybroker serve --check --config FILE` says what is wrong with it, and starts nothing.

policy = "keybroker.yaml"    # put in force at the first start; from then on by `keybroker policy apply`
# workers = 2                # processes that serve; about one for each core
# log_level = "info"
# trusted_proxies = ["10.0.0.7", "10.1.0.0/16"]    # whose X-Forwarded-For, -Proto and -Host are believed
# trusted_hops = 1           # how many of them stand one behind another

[broker]                     # where programs get tokens
listen = "127.0.0.1:{broker}"
# public_url = "https://broker.example.com"

[edge]                       # where programs call with them
listen = "127.0.0.1:{edge}"
# public_url = "https://llm.example.com"

[administration]             # /admin; or listen = "unix:admin.sock"
listen = "127.0.0.1:{administration}"

# [tls]                      # needed beyond loopback, unless trusted_proxies have it; read again when the files change
# certificate = "tls/fullchain.pem"
# key = "tls/key.pem"

[state]
directory = "state"
# keep_records_days = 400    # how long audit events and the like are kept; without it, for good

# [timeouts]
# provider_seconds = 600     # how long a provider may be silent; without it, for as long as it likes
# drain_seconds = 3          # how long running calls may go on when the server stops
"""
_POLICY = """\
# Who may use which key: reviewed as code is, and put in force by `keybroker policy apply keybroker.yaml`.
# docs/grants.md has a grant for each kind of caller.
keys:
  {key}: {{provider: {provider}}}

# issuers:
#   github:  {{preset: github-actions, audience: keybroker}}
#   cluster: {{preset: kubernetes, url: "https://oidc.example.com/cluster", audience: keybroker}}

grants:
  # The administrator of this machine, to try it out. Delete it once your programs have grants of their own.
  try-it-out:
    key: {key}
    to: {{aws: "{arn}"}}
    scope: [{scope}]
    ttl: 15m
    quota: {{tokens: 20/day, calls: 200/day}}

  # ci:
  #   key: {key}
  #   to: {{issuer: github, claims: {{repository_owner_id: "9919", ref: refs/heads/main}}}}
  #   scope: [{scope}]
  #   ttl: 15m
  #   quota: {{tokens: 100/hour, calls: 1000/hour}}
"""
_SCOPES = {
    "openai": ("POST:/v1/chat/completions", "POST:/v1/responses", "POST:/v1/embeddings", "GET:/v1/models"),
    "anthropic": ("POST:/v1/messages", "GET:/v1/models"),
}
"""What a first grant opens."""
_ENVIRONMENT = """\
# The first administrator of this installation: `. admin.env` in a shell lets `keybroker` administer from it.
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_SECURITY_TOKEN
export KEYBROKER_URL={broker}
export KEYBROKER_ADMIN_URL={administration}
export AWS_ACCESS_KEY_ID={key_id}
export AWS_SECRET_ACCESS_KEY={secret}
export AWS_REGION={region}
"""


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the command to a parser."""
    init = commands.add_parser(
        "init", help="make a state directory, a first policy and the administrator's credentials"
    )
    init.add_argument("directory", type=Path, metavar="DIR", help="where they go; it is made if it is not there")
    init.add_argument(
        "--provider", choices=sorted(_SCOPES), default="openai", help="of the first key (default: openai)"
    )
    init.add_argument("--port", type=int, default=8080, metavar="N", help="the broker's; edge N+1, administration N+2")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        made = _make(options.directory.absolute(), options.provider, options.port)
    except InvalidPolicyError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 1
    except Unavailable as fault:
        print(f"error: {fault.reason} ({fault.hint})", file=sys.stderr)
        return 1
    except (OSError, ValueError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    for name, what in made.items():
        print(f"{what[0]} {name}: {what[1]}", file=sys.stderr)
    return 0


def _make(directory: Path, provider: str, port: int) -> dict[Path, tuple[str, str]]:
    from local import secret_file  # noqa: PLC0415  as the next
    from local.administrators import FIRST, Administrator  # noqa: PLC0415
    from local.machine import Machine  # noqa: PLC0415  it takes nearly a second, which would delay other commands
    from local.simulator.callers import ACCOUNT, REGION  # noqa: PLC0415
    from local.urls import Urls  # noqa: PLC0415

    if not 1 <= port <= 65533:
        raise ValueError(f"--port must be from 1 to 65533, not {port}")
    configuration, rules = directory / "keybroker.toml", directory / "keybroker.yaml"
    _check(directory, configuration)
    directory.mkdir(mode=0o700, exist_ok=True)
    state, kept = directory / "state", {one for one in (rules, directory / "state") if one.exists()}
    if rules not in kept:
        secret_file.write_once(rules, _policy(provider, f"arn:aws:iam::{ACCOUNT}:user/{FIRST}"))
    ports = {name: port + offset for offset, name in enumerate(("broker", "edge", "administration"))}
    at = {name: f"http://127.0.0.1:{number}" for name, number in ports.items()}
    machine = Machine(state, Urls(at["broker"], at["edge"], None, None, at["administration"]))
    machine.prepare(rules, {}, alone=True)
    first = next(one for one in machine.administrators().all() if isinstance(one, Administrator))
    environment = directory / "admin.env"
    secret_file.write(
        environment,
        _ENVIRONMENT.format(
            broker=at["broker"],
            administration=at["administration"],
            key_id=shlex.quote(first.access_key_id),
            secret=shlex.quote(first.secret_access_key),
            region=REGION,
        ),
    )
    secret_file.write_once(configuration, _CONFIGURATION.format(**ports))  # the last one: it says that all is there
    found = {
        rules: "the policy that was there" if rules in kept else f"the first policy, with a key {provider}",
        state: "the state directory",
        environment: f"the administrator's credentials (. {shlex.quote(str(environment))})",
        configuration: f"the configuration (keybroker serve --config {shlex.quote(str(configuration))})",
    }
    return {name: ("kept" if name in kept else "made", what) for name, what in found.items()}


def _policy(provider: str, arn: str) -> str:
    scope = ", ".join(f'"{one}"' for one in _SCOPES[provider])
    return _POLICY.format(key=provider, provider=provider, arn=arn, scope=scope)


def _check(directory: Path, configuration: Path) -> None:
    from local.errors import StateOpenToOthers  # noqa: PLC0415  as in _make

    if configuration.exists():
        raise FileExistsError(f"{configuration} is there already: nothing was changed")
    if directory.exists():
        status = directory.stat()
        # SECURITY: whoever writes here names the policy and the state (test_a_directory_of_others_is_refused).
        if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
            hint = (
                f"{directory} must be a directory that its owner alone may change: chown it to the user that runs this"
            )
            raise StateOpenToOthers(hint=f"{hint}, and chmod go-w")
