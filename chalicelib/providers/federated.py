"""Which providers give credentials of minutes for a proof of who asks, instead of a key that someone keeps.

A policy names ids alone (`federated` of a key): what is asked, and where, is fixed in chalicelib/federation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

AWS_STS, BROKER = "aws-sts", "broker"
"""Who vouches for this installation: AWS (`sts:GetWebIdentityToken`), or the broker's own issuer `/federation`."""
SIGNED_BY: Final[Mapping[str, tuple[str, ...]]] = {AWS_STS: ("RS256", "ES384"), BROKER: ("ES256", "RS256")}
"""The algorithms of each, the preferred one first."""

_END = r"\Z"
_ID = "[A-Za-z0-9_-]{1,128}"
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DNS = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REGION = "[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}"


class Federated(NamedTuple):
    """What a key of a provider needs to be federated."""

    required: Mapping[str, str]
    """Ids that `federated` must have: a regular expression for each whole one."""
    account: tuple[str, ...]
    """Those that name the account there: under them the provider's log and bill show a call."""
    optional: Mapping[str, str] = {}
    """Those that it may have."""
    algorithms: tuple[str, ...] = ()
    """Of assertions that the provider takes; empty: it is shown none."""
    public_issuer: bool = False
    """Whether it reads the issuer's keys over the internet alone, and takes none by hand."""
    longest_subject: int | None = None
    """Characters that the subject of an assertion may have at most; None: as many as one of ours can have."""
    longest: int = 3600
    """Seconds that its credentials live at most."""
    most: int | None = None
    """Keys that one of its accounts can have in this way, counted by the id `counted`; None: no limit is known."""
    counted: str = ""

    def fault(self, name: str, value: str) -> str | None:
        """Return what is wrong with one id, a text for people; None if nothing is."""
        if name == "identity" and self.algorithms:
            return None if value in SIGNED_BY else f"{AWS_STS} or {BROKER}"
        form = self.required.get(name) or self.optional.get(name)
        if form is None:
            return f"one of {', '.join(self.names())}"
        # SECURITY: ids go into paths and JSON of requests that carry a proof (test_an_id_means_nothing_else_there).
        return None if re.fullmatch(form + _END, value) else f"an id of the form {form}"

    def names(self) -> tuple[str, ...]:
        """Return the names of everything that `federated` may have."""
        return (*self.required, *self.optional, *(("identity",) if self.algorithms else ()))

    def account_of(self, ids: Mapping[str, str]) -> tuple[str, ...]:
        """Return what names the account that a key's ids lead to; all of them where they name none."""
        named = self.account if any(one in ids for one in self.account) else sorted(ids.keys() - {"identity"})
        return tuple(ids.get(one, "") for one in named)

    def algorithm(self, identity: str) -> str | None:
        """Return with which algorithm this identity is shown to the provider; None: it takes none of that identity's."""
        return next((one for one in SIGNED_BY[identity] if one in self.algorithms), None)


FEDERATED: Final[Mapping[str, Federated]] = {
    "anthropic": Federated(
        {"rule": f"fdrl_{_ID}", "organization": _UUID, "service_account": f"svac_{_ID}"},
        ("service_account",),
        {"workspace": f"default|wrkspc_{_ID}"},
        ("ES256", "RS256", "ES384"),
        longest=86_400,
    ),
    "openai": Federated(
        {"identity_provider": f"idp_{_ID}", "service_account": f"(?:svc_acct|user)[_-]{_ID}"},
        ("service_account",),
        algorithms=("ES256", "RS256", "ES384"),
        most=50,
        counted="identity_provider",
    ),
    "openrouter": Federated(
        {"policy": _UUID}, ("policy",), algorithms=("ES256", "RS256"), public_issuer=True, longest=900, most=None
    ),
    "gemini": Federated(
        {"project_number": "[0-9]{6,20}", "pool": "[a-z0-9-]{4,32}", "pool_provider": "[a-z0-9-]{4,32}"},
        ("service_account",),
        {
            "service_account": r"[a-z0-9-]{1,63}@[a-z0-9-]{1,63}\.iam\.gserviceaccount\.com",
            "quota_project": "[a-z][a-z0-9-]{4,28}[a-z0-9]",
        },
        ("ES256", "RS256", "ES384"),
        longest_subject=127,
    ),
    "azure-openai": Federated(
        {"tenant": _UUID, "client": _UUID, "resource": _DNS},
        ("client", "resource"),
        algorithms=("RS256",),
        public_issuer=True,
        longest=5400,
        most=20,
        counted="client",
    ),
    "bedrock": Federated(
        {"region": _REGION},
        ("role", "region"),
        {"role": r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}"},
        longest=43_200,
    ),
    "github-app": Federated({"client": "[A-Za-z0-9.]{1,64}", "installation": "[0-9]{1,20}"}, ("installation",)),
}
"""By provider."""


def origin(provider: str, settings: Mapping[str, str]) -> str | None:
    """Return where a federated key is used, if its ids say so; None: at the provider's one address."""
    if provider == "azure-openai":
        return f"https://{settings['resource']}.openai.azure.com"
    if provider == "bedrock":
        return f"https://bedrock-runtime.{settings['region']}.amazonaws.com"
    return None
