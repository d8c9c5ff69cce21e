"""Two running Keybrokers for the clients, one whose tokens live for minutes and one for seconds, each behind a relay."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.practice_server import serving
from tests.running import Running, start
from tests.sdks import other_apis
from tests.sdks.relay import Relay

TTL = 6
"""Seconds that a token of the brief one lives."""
EVERYTHING, NARROW, ONCE, SLOWLY = "9919", "7", "8", "6"
"""Owners of repositories: their jobs may do everything, see models alone, make one call a day, or one a minute."""
GRANTS = {EVERYTHING: "all", NARROW: "narrow", ONCE: "once", SLOWLY: "slowly"}
"""What the grants of each key are called, by the owner whose jobs they are for."""
RUNNER = "1234"
"""The repository whose identity the practice issuer's runner endpoint gives."""
_SCOPES = {
    "openai": ("POST:/v1/chat/completions", "POST:/v1/responses"),
    "azure-openai": ("POST:/openai/deployments/gpt-5-mini/chat/completions",),
    "anthropic": ("POST:/v1/messages",),
    "gemini": tuple(
        f"POST:/{version}/models/gemini-2.5-flash:{method}"
        for version in ("v1", "v1beta")
        for method in ("generateContent", "streamGenerateContent")
    ),
    "mistral": ("POST:/v1/chat/completions",),
    "cohere": ("POST:/v2/chat",),
}
_IDS = itertools.count(5001)


@dataclass(slots=True)
class Deployment:
    """One Keybroker as a client sees it. url: the relay's, in front of the edge."""

    running: Running
    relay: Relay
    url: str
    identity_token: Path
    """The file that the identity-only client reads."""


@dataclass(slots=True)
class Stage:
    """Both of them."""

    lasting: Deployment
    brief: Deployment
    next_repository: Iterator[str] = field(default_factory=lambda: map(str, _IDS))


def policy() -> str:
    """Return the policy: grants for each key, for each kind of repository."""
    lines = ["keys:", *(f"  {name}: {{provider: {name}}}" for name in _SCOPES)]
    lines += ["issuers:", "  practice: {preset: practice, audience: keybroker}", "grants:"]
    for key, scopes in _SCOPES.items():
        own = ", ".join(f'"{scope}"' for scope in scopes)
        for owner, scope, calls in (
            (EVERYTHING, own, "100000/minute"),
            (NARROW, '"GET:/v1/models"', "100000/minute"),
            (ONCE, own, "1/day"),
            (SLOWLY, own, "1/minute"),
        ):
            lines += [
                f"  {key}-{GRANTS[owner]}:",
                f"    key: {key}",
                f'    to: {{issuer: practice, claims: {{repository_owner_id: "{owner}"}}}}',
                f"    scope: [{scope}]",
                f"    quota: {{tokens: 1000/hour, calls: [{calls}]}}",
            ]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def staged(directory: Path) -> Iterator[Stage]:
    """Start everything, and stop it again."""
    with contextlib.ExitStack() as stack:
        others = stack.enter_context(serving(other_apis.make_apis())).replace("127.0.0.1", "localhost")
        deployments = []
        for name, arguments in (("lasting", ()), ("brief", ("--practice-ttl", str(TTL)))):
            here = directory / name
            here.mkdir()
            running = stack.enter_context(start(*arguments, policy=policy(), directory=here))
            for key, value in other_apis.KEYS.items():
                answer = running.administer("PUT", f"/admin/keys/{key}?probe=false", {"value": value, "origin": others})
                assert answer.status in (200, 201, 204), answer
            relay = Relay(running.edge)
            deployments.append(
                Deployment(running, relay, stack.enter_context(serving(relay.app())), here / "identity-token")
            )
        lasting, brief = deployments
        yield Stage(lasting, brief)
