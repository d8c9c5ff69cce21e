"""Finds this program's workload identity by trying the sources around it, in a fixed order.

A source that is absent is passed over; one that is present but broken is an error that says what is missing, because a
program that was given an identity must not silently use another. The order: what was set on purpose, then the CI job or
the pod, then the person, then the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType

from keybroker.errors import IdentityError, NoIdentity
from keybroker.sources.identity_request import IdentityRequest

DEFAULT_AUDIENCE = "keybroker"
"""The `aud` of identity tokens unless the broker's policy has another for the issuer."""
AWS_SIGV4 = "aws-sigv4"
"""The source that has no token: the request itself is signed."""
LOGIN = "login"
"""The source that is a person's, whose token's audience is always the login's client ID."""
NO_LOGIN = "KEYBROKER_NO_LOGIN"
"""The variable that `keybroker exec` sets for its program, which was given a token instead."""
CHOICE = "KEYBROKER_IDENTITY"
"""The variable that names the one source to use."""
SOURCES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "token-file": ("token_file", "a token file named by KEYBROKER_ID_TOKEN_FILE"),
        "environment": ("environment", "a token in KEYBROKER_ID_TOKEN"),
        "github-actions": ("github_actions", "a GitHub Actions job"),
        "gitlab": ("gitlab", "a GitLab job with id_tokens"),
        "circleci": ("circleci", "a CircleCI job"),
        "buildkite": ("buildkite", "a Buildkite job"),
        "kubernetes": ("kubernetes", "a projected service account token at /var/run/secrets/keybroker/token"),
        LOGIN: ("login", "a person's login (keybroker login)"),
        "google": ("google", "a Google Cloud service account"),
        AWS_SIGV4: ("aws_sigv4", "AWS credentials"),
    }
)
"""In the order in which they are tried: source name -> its module in keybroker/sources/, and what it looks for."""
ON_REQUEST: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"aws-web-identity": ("aws_web_identity", "an identity token from AWS STS for the role")}
)
"""Sources that are tried only if KEYBROKER_IDENTITY names them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A workload identity.

    source: a name in SOURCES or ON_REQUEST. unverified_subject_token: "" for aws-sigv4, where AWS credentials sign.
    """

    source: str
    # SECURITY: an identity token must not reach a log by way of a repr (test_the_identity_token_is_not_in_its_repr).
    unverified_subject_token: str = field(repr=False)


def find_identity(audience: str | None = None, environ: Mapping[str, str] = os.environ) -> Identity:
    """Return this program's identity, with a fresh identity token where the source issues them.

    audience: the token's `aud`; by default KEYBROKER_AUDIENCE, then `keybroker`. environ: the variables to read. May read
    a file, run a CI tool or query a metadata server, each within a time limit; nothing is cached.

    Raises NoIdentity: no source applies. IdentityError: a source applies, but is broken.
    """
    request = IdentityRequest(audience or environ.get("KEYBROKER_AUDIENCE") or DEFAULT_AUDIENCE, environ)
    chosen = environ.get(CHOICE)
    if chosen:
        return _from_chosen(chosen, request)
    for name, (module, _) in SOURCES.items():
        try:
            token = _try(module, request)
        except IdentityError as error:
            raise IdentityError(f"{error}\n(To use another identity source, set {CHOICE} to its name.)") from error
        if token is not None:
            return Identity(_source_name(name, environ), token)
    tried = "".join(f"\n  {what}" for _, what in SOURCES.values())
    below = "\n(keybroker exec gave this program a token instead; exec --keep-identity passes identities on.)"
    raise NoIdentity(f"no workload identity found; tried:{tried}{below if environ.get(NO_LOGIN) else ''}")


def _from_chosen(name: str, request: IdentityRequest) -> Identity:
    known = {**SOURCES, **ON_REQUEST}
    if name not in known:
        raise IdentityError(f"{CHOICE} is {name!r}; it must be one of: {', '.join(known)}")
    module, what = known[name]
    token = _try(module, request)
    if token is None:
        raise NoIdentity(f"{CHOICE} is {name!r}, but this was not found: {what}")
    return Identity(name, token)


def _try(module: str, request: IdentityRequest) -> str | None:
    token: str | None = import_module(f"keybroker.sources.{module}").find(request)
    return token


def _source_name(name: str, environ: Mapping[str, str]) -> str:
    """Name GitLab where its job has the token in KEYBROKER_ID_TOKEN, the variable for the audience `keybroker`."""
    return "gitlab" if name == "environment" and environ.get("GITLAB_CI") else name
