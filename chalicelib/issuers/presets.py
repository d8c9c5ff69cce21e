"""The table of issuer presets: what each kind of issuer signs with, how long its tokens live, which id is never recycled.

Sources: each issuer's own documentation of its tokens' claims, read entry by entry in November 2026; `documented` names it with
its date. To add one, write an entry here and an example grant in docs/grants.md, add claims of a real token (tests/vectors/claims) and run `make issuers`.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.issuers.entry import Preset, single_claim
from chalicelib.principal import Identity

_KUBERNETES = Identity(
    "kubernetes",
    (
        ("kubernetes.io", "namespace"),
        ("kubernetes.io", "serviceaccount", "name"),
        ("kubernetes.io", "serviceaccount", "uid"),
    ),
)
"""A service account that is deleted and made again has the same name and another uid."""

GENERIC = Preset(
    url=None,
    algorithms=("RS256", "ES256"),
    max_lifetime=3600,
    documented="the issuer decides",
    single_use=False,
    identity=single_claim("sub"),
    label="sub",
    # RFC 9068 section 2.2.3.1, RFC 8176, and Keycloak's roles (November 2026)
    lists=(
        *(("groups",), ("roles",), ("entitlements",), ("amr",)),
        *(("realm_access", "roles"), ("resource_access", "*", "roles")),
    ),
)

PRESETS: Mapping[str, Preset] = {
    "github-actions": Preset(
        url="https://token.actions.githubusercontent.com",
        algorithms=("RS256",),
        max_lifetime=900,
        documented="5m in its example, no promise (GitHub Docs, OIDC with reusable workflows; read 2026-11)",
        single_use=True,
        identity=single_claim("repository_id"),
        label="repository",
        required=("jti", "repository_id", "repository_owner_id", "event_name"),
        # These events run a stranger's code, or act on a stranger's text, with the repository's identity.
        refused=(("event_name", ("pull_request_target", "workflow_run", "issue_comment")),),
        pins=(("repository_id",), ("repository_owner_id",)),
        unwise=("sub",),
        texts=("ref", "base_ref", "head_ref", "environment", "workflow_ref", "job_workflow_ref", "repository"),
        sub_rule="github-sub",
    ),
    "gitlab": Preset(
        url="https://gitlab.com",
        algorithms=("RS256",),
        max_lifetime=24 * 3600,  # a job's token lives as long as the job may run
        documented="the job's timeout, 5m without one (GitLab Docs, ID tokens; read 2026-11)",
        single_use=False,  # a job gets one token and exchanges it for each key
        identity=single_claim("project_id"),
        label="project_path",
        required=("jti", "project_id", "namespace_id"),
        pins=(("project_id",), ("namespace_id",)),
        unwise=("sub", "project_path", "namespace_path"),
        lists=(("groups_direct",),),
        texts=("ref", "ref_path", "ref_protected", "environment"),
    ),
    "circleci": Preset(
        url=None,
        forms=("https://oidc.circleci.com/org/*", "https://oidc.circleci.com"),
        algorithms=("RS256",),
        max_lifetime=3600,
        documented="1h (CircleCI Docs, OpenID Connect tokens; 2026-08)",
        single_use=False,
        identity=single_claim("oidc.circleci.com/project-id"),
        label="sub",
        required=("oidc.circleci.com/project-id",),
        # If a person opened a shell in the job, the caller is that person, not the pipeline.
        refused=(("oidc.circleci.com/ssh-rerun", (True,)),),
        pins=(("oidc.circleci.com/project-id",), ("oidc.circleci.com/org-id",)),
        unwise=("sub",),
        lists=(("oidc.circleci.com/context-ids",),),
        texts=("oidc.circleci.com/vcs-origin", "oidc.circleci.com/vcs-ref"),
    ),
    "buildkite": Preset(
        url="https://agent.buildkite.com",
        algorithms=("RS256",),
        max_lifetime=3600,
        documented="5m unless `--lifetime` says otherwise (Buildkite Docs, buildkite-agent oidc; 2026-08)",
        single_use=False,
        identity=single_claim("pipeline_id"),  # asked for with `--claim pipeline_id`; slugs are recycled
        label="pipeline_slug",
        required=("pipeline_id", "organization_slug"),
        pins=(("pipeline_id",), ("organization_id",)),
        unwise=("sub", "pipeline_slug", "organization_slug"),
        texts=("build_branch", "build_tag"),
    ),
    "bitbucket": Preset(
        url=None,
        forms=("https://api.bitbucket.org/2.0/workspaces/*/pipelines-config/identity/oidc",),
        algorithms=("RS256",),
        max_lifetime=3600,
        documented="nothing (Atlassian Support, Integrate Pipelines using OIDC; read 2026-11)",
        single_use=False,
        identity=single_claim("repositoryUuid"),
        label="repositoryUuid",
        required=("repositoryUuid", "workspaceUuid"),
        pins=(("repositoryUuid",), ("workspaceUuid",)),
        unwise=("sub",),
    ),
    "azure-devops": Preset(
        url=None,
        forms=("https://vstoken.dev.azure.com/*",),
        algorithms=("RS256",),
        max_lifetime=3600,
        documented="nothing; retired on 2027-07-01 in the public cloud (Microsoft Learn, Convert service connections; read 2026-11)",
        single_use=False,
        identity=single_claim("sub"),  # names within the organisation that the issuer's URL pins
        label="sub",
        audience="api://AzureADTokenExchange",
    ),
    "azure-devops-entra": Preset(
        url=None,
        forms=("https://login.microsoftonline.com/*/v2.0",),
        algorithms=("RS256",),
        max_lifetime=25 * 3600,
        documented="nothing; about a day in a decoded token (Teleport RFD 211; read 2026-11)",
        single_use=False,
        # Ids of organisation and connection; `oid` is Azure DevOps' own, the same for all.
        identity=single_claim("sub"),
        label="sub",
        audience="fb60f99c-7a34-4190-8149-302f77469936",
        required=("tid",),
        pins=(("sub",),),
        unwise=("oid",),
    ),
    "hcp-terraform": Preset(
        url="https://app.terraform.io",
        algorithms=("RS256",),
        max_lifetime=25 * 3600,
        documented="the timeout of the plan or apply (HashiCorp Developer, Workload identity; read 2026-11)",
        single_use=False,
        identity=single_claim("terraform_workspace_id"),
        label="terraform_workspace_name",
        required=("terraform_workspace_id", "terraform_organization_id", "terraform_run_phase"),
        pins=(("terraform_workspace_id",), ("terraform_organization_id",)),
        unwise=("sub", "terraform_workspace_name", "terraform_organization_name", "terraform_full_workspace"),
    ),
    "kubernetes": Preset(
        url=None,
        algorithms=("RS256", "ES256", "ES384"),
        max_lifetime=24 * 3600,
        documented="what the pod asks for, 10m or more; renewed at 80 % of it, or after a day (Kubernetes Docs, Configure Service Accounts; read 2026-11)",
        single_use=False,  # a projected token is a file that every process of the pod reads
        identity=_KUBERNETES,
        label="sub",
        pins=(("sub",), *_KUBERNETES.paths),
        id_words="namespace, service account and its uid",
    ),
    "eks": Preset(
        url=None,
        forms=(
            "https://oidc.eks.*.amazonaws.com/id/*",
            "https://oidc.eks.*.amazonaws.com.cn/id/*",
            "https://oidc-eks.*.api.aws/id/*",  # AWS's dual-stack name of the same
        ),
        algorithms=("RS256",),
        max_lifetime=24 * 3600,
        documented="as `kubernetes` (read 2026-11)",
        single_use=False,
        identity=_KUBERNETES,
        label="sub",
        pins=(("sub",), *_KUBERNETES.paths),
        id_words="namespace, service account and its uid",
    ),
    "google": Preset(
        url="https://accounts.google.com",
        algorithms=("RS256",),
        max_lifetime=3600,
        documented="1h in its examples (Google Cloud Docs, Token types; read 2026-11)",
        single_use=False,
        identity=single_claim("sub"),
        label="email",
        pins=(("sub",),),
        unwise=("email",),
    ),
    "azure-managed-identity": Preset(
        url=None,
        forms=(
            "https://sts.windows.net/*/",
            "https://login.microsoftonline.com/*/v2.0",
            "https://login.microsoftonline.us/*/v2.0",
            "https://login.partner.microsoftonline.cn/*/v2.0",
            "https://sts.chinacloudapi.cn/*/",
        ),
        algorithms=("RS256",),
        max_lifetime=24 * 3600 + 3600,
        documented="about 24h (Microsoft Learn, Troubleshoot workload identity service connections; 2025-03)",
        single_use=False,
        identity=single_claim("oid"),
        label="oid",
        required=("oid", "tid"),
        pins=(("oid",),),
        unwise=("sub",),
        lists=(("groups",), ("roles",), ("wids",), ("amr",)),
    ),
    "spiffe": Preset(
        url=None,
        algorithms=("RS256", "ES256", "ES384"),
        max_lifetime=3600,
        documented="5m unless `default_jwt_svid_ttl` says otherwise (SPIRE Server Configuration Reference; read 2026-11)",
        single_use=False,
        identity=single_claim("sub"),
        label="sub",
        token_types=("jose",),  # SPIFFE JWT-SVID, section 2.3
        key_uses=("jwt-svid",),  # SPIFFE Trust Domain and Bundle, section 4.2.2; `x509-svid` is for certificates
    ),
    "vercel": Preset(
        url=None,
        forms=("https://oidc.vercel.com/*", "https://oidc.vercel.com"),
        algorithms=("RS256",),
        max_lifetime=2 * 3600,
        documented="builds 1h, functions 2h, as seen in 2026-11; a developer's machine 12h (Vercel Docs, AI Gateway, OIDC; read 2026-11)",
        single_use=False,
        identity=single_claim("project_id"),
        label="project",
        required=("owner_id", "project_id", "environment"),
        refused=(("environment", ("development",)),),  # a person's own machine
        unwise=("sub",),
        pins=(("project_id",), ("owner_id",)),
    ),
    "aws-web-identity": Preset(
        url=None,
        forms=("https://*.tokens.sts.global.api.aws",),
        algorithms=("ES384", "RS256"),
        max_lifetime=3600,
        documented="1m to 1h as asked for, 5m by default (AWS STS API Reference, GetWebIdentityToken; read 2026-11)",
        single_use=True,
        identity=single_claim("sub"),
        label="sub",
        required=("jti",),
        aws_principals=True,
    ),
}


def find(name: str) -> Preset:
    """Return the preset of this name, GENERIC if there is none: the issuer names none, or one of its installation alone."""
    return PRESETS.get(name, GENERIC)
