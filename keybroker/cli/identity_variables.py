"""What a program could mint another identity with: variables by name and by the shape of their value, and files.

`keybroker exec` takes the variables out of its program's environment, `--isolate` also hides the files, and `keybroker doctor
--child` looks for both.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from keybroker.json_object import read_json_object


@dataclass(frozen=True, slots=True)
class Platform:
    """One place that hands out identities.

    variables: names; a `*` at the end stands for any rest. files: files, folders and sockets that open the same door; `~` is
    the home folder, and `*` any one name. stays: whether programs usually need it for their own work, so that only
    isolation takes it away.
    """

    variables: tuple[str, ...]
    files: tuple[str, ...] = ()
    stays: bool = False


PLATFORMS: Mapping[str, Platform] = {
    "GitHub Actions": Platform(
        (
            *("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN"),
            *("ACTIONS_RUNTIME_URL", "ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL"),
        )
    ),
    # The job names the variables of its `id_tokens` itself: they are found by their values.
    "GitLab": Platform(
        (
            *("CI_JOB_TOKEN", "CI_JOB_JWT", "CI_JOB_JWT_V1", "CI_JOB_JWT_V2", "CI_REGISTRY_PASSWORD"),
            *("CI_DEPENDENCY_PROXY_PASSWORD", "CI_REPOSITORY_URL"),
        )
    ),
    "CircleCI": Platform(("CIRCLE_OIDC_TOKEN", "CIRCLE_OIDC_TOKEN_V2")),
    # BUILDKITE_JOB_ID is no secret, and programs label their results with it.
    "Buildkite": Platform(
        (
            *("BUILDKITE_AGENT_ACCESS_TOKEN", "BUILDKITE_AGENT_ENDPOINT"),
            *("BUILDKITE_AGENT_JOB_API_TOKEN", "BUILDKITE_AGENT_JOB_API_SOCKET"),
        )
    ),
    "Bitbucket": Platform(("BITBUCKET_STEP_OIDC_TOKEN",)),
    "Azure DevOps": Platform(("SYSTEM_ACCESSTOKEN", "SYSTEM_OIDCREQUESTURI")),
    "HCP Terraform": Platform(("TFC_WORKLOAD_IDENTITY_TOKEN*",)),
    "Vercel": Platform(("VERCEL_OIDC_TOKEN",), (".env.local",)),
    "Kubernetes": Platform(
        ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"),
        ("/var/run/secrets",),
    ),
    "Google Cloud": Platform(
        # Not all of CLOUDSDK_*: most are settings, such as a CA bundle or the interpreter.
        (
            *("GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST", "GCE_METADATA_IP"),
            *("CLOUDSDK_AUTH_*", "CLOUDSDK_CONFIG"),
        ),
        ("~/.config/gcloud",),
    ),
    "Azure": Platform(
        (
            *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "AZURE_FEDERATED_TOKEN_FILE"),
            *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST", "AZURE_CLIENT_SECRET"),
            "AZURE_CLIENT_CERTIFICATE_PATH",
        ),
        ("~/.azure",),
    ),
    "SPIFFE": Platform(("SPIFFE_ENDPOINT_SOCKET",)),
    "provider federation": Platform(
        (
            *("ANTHROPIC_IDENTITY_TOKEN", "ANTHROPIC_IDENTITY_TOKEN_FILE", "ANTHROPIC_FEDERATION_RULE_ID"),
            *("ANTHROPIC_PROFILE", "ANTHROPIC_CONFIG_DIR", "OPENAI_IDENTITY_TOKEN_FILE"),
        ),
        ("~/.config/anthropic", "~/.claude/.credentials.json"),
    ),
    "Keybroker": Platform(
        ("KEYBROKER_ID_TOKEN", "KEYBROKER_ID_TOKEN_FILE", "KEYBROKER_IDENTITY", "KEYBROKER_AUDIENCE"),
        ("~/.local/state/keybroker",),  # and where XDG_STATE_HOME says, see isolation.hidden
    ),
    "AWS": Platform(
        (
            *(
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_ROLE_ARN",
                "AWS_ROLE_SESSION_NAME",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            ),
            *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            *("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            *("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
            "AWS_BEARER_TOKEN_BEDROCK",
        ),
        ("~/.aws",),
        stays=True,
    ),
    # Written by one step and read by the next ones, which may have the identity's door.
    "GitHub, for later steps": Platform(
        ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STATE"),
        ("~/.config/gh",),
        stays=True,
    ),
    "general": Platform(
        ("SSH_AUTH_SOCK", "DOCKER_HOST", "VAULT_TOKEN", "OP_SERVICE_ACCOUNT_TOKEN", "NPM_TOKEN"),
        (
            *("/var/run/docker.sock", "~/.ssh", "~/.docker/config.json", "~/.kube/config", "~/.netrc", "~/.npmrc"),
            "~/.vault-token",
        ),
        stays=True,
    ),
}
FILE_VARIABLES = frozenset(
    (
        *("BUILDKITE_AGENT_JOB_API_SOCKET", "TFC_WORKLOAD_IDENTITY_TOKEN_PATH"),
        *(
            "GOOGLE_APPLICATION_CREDENTIALS",
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
            "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
        ),
        *("CLOUDSDK_CONFIG", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_CERTIFICATE_PATH", "SPIFFE_ENDPOINT_SOCKET"),
        *("ANTHROPIC_IDENTITY_TOKEN_FILE", "ANTHROPIC_CONFIG_DIR", "OPENAI_IDENTITY_TOKEN_FILE"),
        *("KEYBROKER_ID_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT"),
        *("GITHUB_STATE", "SSH_AUTH_SOCK", "DOCKER_HOST"),
    )
)
"""Variables whose value is the path of a file, folder or socket with an identity; any other path may be the system's."""
_JWT = re.compile(r"(?:bearer\s+)?(eyJ[\w-]+)\.[\w-]+\.[\w-]+", re.ASCII | re.IGNORECASE)
_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|SECRET|JWT|HEADER", re.ASCII)
_NO_SECRET_NAME = re.compile(r"(?:_URL|_URI|_FILE|_PATH)$", re.ASCII)
_SHORTEST = 8
"""Characters below which a value is not masked: it would be found in ordinary words."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An environment without its identities.

    environ: what is left. names: what was taken out, sorted. secrets: the values to mask, of all that could be taken out.
    """

    environ: Mapping[str, str] = field(repr=False)
    names: tuple[str, ...]
    secrets: tuple[str, ...] = field(repr=False)


def take_out(
    environ: Mapping[str, str], *, keep: Collection[str] = (), everything: bool = False, strict: bool = False
) -> Taken:
    """Return an environment without the variables that could mint an identity, except those to keep.

    everything: also those that usually stay, such as AWS credentials. strict: also every identity token, kept or not.
    """
    # SECURITY: by value, too: a GitLab job names its tokens itself (test_a_token_under_any_name_is_taken_out).
    found = [name for name, value in environ.items() if by_name(name) or is_identity_token(value)]
    taken = {
        name
        for name in found
        if (name not in keep and (everything or not _stays(name))) or (strict and is_identity_token(environ[name]))
    }
    secrets = {environ[name] for name in found if _holds_secret(name, environ[name])}
    rest = {name: value for name, value in environ.items() if name not in taken}
    return Taken(rest, tuple(sorted(taken)), tuple(sorted(secrets)))


def by_name(name: str) -> bool:
    """Return whether a variable of this name could mint an identity, whatever its value."""
    return any(_matches(name, platform.variables) for platform in PLATFORMS.values())


def always_taken(names: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return those names that are an identity's own, or whose value is one, which --proxy and isolation never pass on."""
    return tuple(
        name for name in names if (by_name(name) and not _stays(name)) or is_identity_token(environ.get(name, ""))
    )


def is_identity_token(value: str) -> bool:
    """Return whether a value is a JWT; an access token (RFC 9068), as Keybroker issues, is no identity."""
    match = _JWT.fullmatch(value.strip())
    if match is None:
        return False
    try:
        header = read_json_object(base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)))
    except ValueError:
        return True
    return str(header.get("typ", "")).lower() not in ("at+jwt", "application/at+jwt")


def _stays(name: str) -> bool:
    return any(_matches(name, platform.variables) for platform in PLATFORMS.values() if platform.stays)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in patterns)


def _holds_secret(name: str, value: str) -> bool:
    is_secret = _SECRET_NAME.search(name) is not None and _NO_SECRET_NAME.search(name) is None
    return len(value) >= _SHORTEST and (is_secret or is_identity_token(value))
