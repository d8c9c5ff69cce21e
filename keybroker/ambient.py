"""Who is this program? Looks around it for what can prove that, in a fixed order.

Absent means the next source; there and broken is an error that says what is missing, for a program that was given an
identity must not go on as somebody else. The order: what was set on purpose, then the CI around the job, then the
machine that it runs on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType

from keybroker.errors import IdentityError, NoIdentity
from keybroker.sources.wanted import Wanted

AUDIENCE = "keybroker"
"""The `aud` of identity tokens unless the broker's policy has another for the issuer."""
SIGNED = "aws-sigv4"
"""The source that has no token: the request itself is signed."""
CHOICE = "KEYBROKER_IDENTITY"
"""The variable that names one source, the only one that is then tried."""
SOURCES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "token-file": ("token_file", "KEYBROKER_ID_TOKEN_FILE names a file"),
        "environment": ("environment", "KEYBROKER_ID_TOKEN holds a token"),
        "github-actions": ("github_actions", "a GitHub Actions job"),
        "gitlab": ("gitlab", "a GitLab job with id_tokens"),
        "circleci": ("circleci", "a CircleCI job"),
        "buildkite": ("buildkite", "a Buildkite job"),
        "kubernetes": ("kubernetes", "a projected service account token at /var/run/secrets/keybroker/token"),
        "google": ("google", "a Google Cloud service account"),
        SIGNED: ("aws_sigv4", "AWS credentials"),
    }
)
"""In order: a source's name, its module in keybroker/sources/, and what is looked for."""
ON_REQUEST: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"aws-web-identity": ("aws_web_identity", "a token of AWS STS about the role")}
)
"""Sources that are tried only if KEYBROKER_IDENTITY names them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What was found. source: a name of SOURCES or ON_REQUEST. unverified_subject_token: "" where AWS credentials sign."""

    source: str
    # SECURITY: an identity token must not reach a log by way of a repr (test_the_identity_token_is_not_in_its_repr).
    unverified_subject_token: str = field(repr=False)


def find(audience: str | None = None, environ: Mapping[str, str] = os.environ) -> Identity:
    """Return who this program is, with a fresh identity token where the source makes them.

    audience: the token's `aud`; KEYBROKER_AUDIENCE, or else `keybroker`, unless given. environ: where to look. A file is
    read, a CI's tool run, a metadata server asked, each within a bounded time; nothing is remembered.

    Raises NoIdentity: nothing was found. IdentityError: something was, and is broken.
    """
    wanted = Wanted(audience or environ.get("KEYBROKER_AUDIENCE") or AUDIENCE, environ)
    chosen = environ.get(CHOICE)
    if chosen:
        return _chosen(chosen, wanted)
    for name, (module, _) in SOURCES.items():
        try:
            token = _look(module, wanted)
        except IdentityError as fault:
            raise IdentityError(f"{fault}\n(Another source of identity is used if {CHOICE} names it.)") from fault
        if token is not None:
            return Identity(_true_name(name, environ), token)
    looked_for = "".join(f"\n  {what}" for _, what in SOURCES.values())
    raise NoIdentity(f"nothing here says who this program is; looked for:{looked_for}")


def _chosen(name: str, wanted: Wanted) -> Identity:
    known = {**SOURCES, **ON_REQUEST}
    if name not in known:
        raise IdentityError(f"{CHOICE} is {name!r}; it must be one of: {', '.join(known)}")
    module, what = known[name]
    token = _look(module, wanted)
    if token is None:
        raise NoIdentity(f"{CHOICE} is {name!r}, and there is none here: {what}")
    return Identity(name, token)


def _look(module: str, wanted: Wanted) -> str | None:
    found: str | None = import_module(f"keybroker.sources.{module}").find(wanted)
    return found


def _true_name(name: str, environ: Mapping[str, str]) -> str:
    """GitLab's jobs have their token in KEYBROKER_ID_TOKEN too, which is what an audience `keybroker` makes of it."""
    return "gitlab" if name == "environment" and environ.get("GITLAB_CI") else name
