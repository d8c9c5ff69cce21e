"""Google's workload identity federation (cloud.google.com/iam, "Workload Identity Federation", read in November 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.federation.exchange import (
    GRANT_EXCHANGE,
    TYPE_ACCESS,
    TYPE_JWT,
    Means,
    Minted,
    credential,
    document,
    oauth_credential,
    post_form,
    post_json,
)
from chalicelib.federation.instant import epoch
from chalicelib.providers.federated import FEDERATED

_STS: Final = "https://sts.googleapis.com/v1/token"
_IAM: Final = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
_SCOPES: Final = "https://www.googleapis.com/auth"
_LIFE: Final = 3600


def resource(project_number: str, pool: str, provider: str) -> str:
    """Return the name of a provider of a pool, which is for whom assertions are, with `https:` before it."""
    where = f"//iam.googleapis.com/projects/{project_number}/locations/global"
    return f"{where}/workloadIdentityPools/{pool}/providers/{provider}"


def mint(settings: Mapping[str, str], means: Means, now: int) -> Minted:
    """See `chalicelib.federation.federations.MINTS`: the pool's own credential, or one of a service account by means of it."""
    account = settings.get("service_account", "")
    name = resource(settings["project_number"], settings["pool"], settings["pool_provider"])
    fields = {
        "grant_type": GRANT_EXCHANGE,
        "audience": name,
        "scope": f"{_SCOPES}/iam" if account else f"{_SCOPES}/cloud-platform",
        "requested_token_type": TYPE_ACCESS,
        "subject_token": means.assertion(f"https:{name}", _LIFE, FEDERATED["gemini"].algorithms),
        "subject_token_type": TYPE_JWT,
    }
    project = settings.get("quota_project", "")
    beside = (("x-goog-user-project", project),)
    found = oauth_credential(post_form(means, _STS, fields), now, _LIFE, beside)
    return _of_account(account, found, means, now) if account else found


def _of_account(account: str, found: Minted, means: Means, now: int) -> Minted:
    body = {"scope": [f"{_SCOPES}/cloud-platform", f"{_SCOPES}/generative-language"], "lifetime": f"{_LIFE}s"}
    headers = {"authorization": f"Bearer {found.value}"}
    answer = post_json(means, f"{_IAM}/{account}:generateAccessToken", body, headers)
    said = document(answer)
    expires = epoch(said.get("expireTime"))
    return credential(said.get("accessToken"), min(expires, now + _LIFE), now, answer, found.beside)
