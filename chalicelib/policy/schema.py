"""The types of the policy file: the reader checks files against them, and the JSON Schema is generated from them."""

from __future__ import annotations

import gc
import ipaddress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from chalicelib.policy.faults import ABSENT, Absent, Faulty

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# SECURITY: `$` alone also matches before a last line break (test_trailing_line_breaks).
_END = r"$(?!\n)"
_PATH = "[A-Za-z0-9._~!$&'()*+,=:@%-]*"

Name = Annotated[
    str,
    Meta(
        pattern=f"^[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}{_END}", description="a name of 1 to 64 letters, digits, `-` and `_`"
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=1024, description="text of 1 to 1024 characters")]
Duration = Annotated[str, Meta(pattern=f"^[1-9][0-9]{{0,5}}[smhd]{_END}", description="a duration: 90s, 15m, 1h or 7d")]
LimitText = Annotated[
    str, Meta(pattern=f"^[1-9][0-9]{{0,9}}/(minute|hour|day){_END}", description="a limit: N/minute, N/hour or N/day")
]
ScopeText = Annotated[
    str,
    Meta(
        pattern=f"^[A-Z]{{1,16}}:(/{_PATH})+{_END}",
        max_length=1024,
        description="METHOD:/path, without a query; `*` stands for exactly one whole segment between `/` or `:`,"
        " and a last `/**` for one or more",
    ),
]
ClaimText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="matched exactly; `*` stands for exactly one whole segment between `/` or `:`, or ends the last one",
    ),
]
Algorithm = Annotated[str, Meta(description="the name of an algorithm with a public key, such as RS256")]
ClaimValue = ClaimText | int | bool
MOST_VALUES = 100
"""Of one claim."""
ClaimName = Annotated[
    str,
    Meta(
        pattern=rf'^(?!\[)|^\[".*"\]{_END}',
        min_length=1,
        max_length=1024,
        description='a claim\'s name, or for a nested claim the list of names on the way: ["a", "b"]',
    ),
]
Limits = LimitText | Annotated[list[LimitText | Faulty], Meta(min_length=1, max_length=3)]
UsageText = Annotated[
    str,
    Meta(
        pattern=f"^[1-9][0-9]{{0,12}} tokens/(minute|hour|day){_END}",
        description="a limit of models' tokens: N tokens/minute, N tokens/hour or N tokens/day",
    ),
]
SpendText = Annotated[
    str,
    Meta(
        pattern=f"^[0-9]{{1,7}}([.][0-9]{{1,6}})? usd/(minute|hour|day){_END}",
        description="a limit of what models cost: N usd/minute, N usd/hour or N usd/day",
    ),
]
SpendLimits = SpendText | Annotated[list[SpendText | Faulty], Meta(min_length=1, max_length=3)]
UsageLimits = UsageText | Annotated[list[UsageText | Faulty], Meta(min_length=1, max_length=3)]


class KeyEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A key's name and provider. Its value, origin and header are set elsewhere, together."""

    provider: Annotated[str, Meta(description="a provider's preset")] | Faulty
    rotate_after: (
        Annotated[Duration, Meta(description="how old its value may grow before it is due: 1d to 3650d")]
        | Faulty
        | Absent
    ) = ABSENT
    federated: (
        Annotated[
            dict[
                Name, Annotated[str, Meta(min_length=1, max_length=600, description="an id at the provider")] | Faulty
            ],
            Meta(
                min_length=1,
                max_length=8,
                description="the ids with which its credentials are minted, instead of a value that is set",
            ),
        ]
        | Faulty
        | Absent
    ) = ABSENT


class IssuerEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """An OIDC issuer. Without a preset: a generic one, whose subjects are known by `sub`."""

    preset: Annotated[str, Meta(description="the name of a preset for this kind of issuer")] | Faulty | Absent = ABSENT
    url: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=255,
                description="a URL of at most 255 characters: the `iss` of its tokens, byte for byte",
            ),
        ]
        | Faulty
        | Absent
    ) = ABSENT
    audience: Text | Annotated[list[Text | Faulty], Meta(min_length=1, max_length=10)] | Faulty | Absent = ABSENT
    algorithms: Annotated[list[Algorithm | Faulty], Meta(min_length=1, max_length=9)] | Faulty | Absent = ABSENT
    jwks: (
        Annotated[
            dict[str, Any], Meta(description="a JWKS: {keys: […]}, the public keys of an issuer that cannot be reached")
        ]
        | Faulty
        | Absent
    ) = ABSENT
    max_lifetime: (
        Annotated[Duration, Meta(description="the longest `exp - iat` accepted: 90s, 15m, 1h or 7d")] | Faulty | Absent
    ) = ABSENT
    single_use: Annotated[bool, Meta(description="whether a token can be exchanged once only")] | Faulty | Absent = (
        ABSENT
    )


class Contains(Struct, frozen=True, forbid_unknown_fields=True):
    """A claim that is a list, with this value among its elements, or one of these values."""

    contains: ClaimValue | Annotated[list[ClaimValue | Faulty], Meta(min_length=1, max_length=MOST_VALUES)] | Faulty


class To(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a grant is for: claims of an issuer, or an AWS principal."""

    issuer: Name | Faulty | Absent = ABSENT
    claims: (
        Annotated[
            dict[
                ClaimName,
                ClaimValue
                | Contains
                | Annotated[list[ClaimValue | Contains | Faulty], Meta(min_length=1, max_length=MOST_VALUES)]
                | Faulty,
            ],
            Meta(
                min_length=1,
                max_length=50,
                description=(
                    "claim -> value, or list of values, or {contains: value} for a claim that is a list; "
                    'a nested claim is a list of names: ["a", "b"]'
                ),
            ),
        ]
        | Faulty
        | Absent
    ) = ABSENT
    aws: Annotated[Text, Meta(description="the ARN of an IAM role or user, its account in full")] | Faulty | Absent = (
        ABSENT
    )
    via: Annotated[Literal["web-identity"], Meta(description="web-identity")] | Faulty | Absent = ABSENT


class TokenQuota(Struct, frozen=True, forbid_unknown_fields=True):
    """How much each principal may have."""

    tokens: Limits | Faulty
    calls: Limits | Faulty
    usage: UsageLimits | Faulty | Absent = ABSENT
    spend: SpendLimits | Faulty | Absent = ABSENT


class TotalQuota(Struct, frozen=True, forbid_unknown_fields=True):
    """How much all principals of a grant may have together."""

    calls: Limits | Faulty | Absent = ABSENT
    usage: UsageLimits | Faulty | Absent = ABSENT
    spend: SpendLimits | Faulty | Absent = ABSENT


class GrantEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may have what, and how much."""

    key: Name | Faulty
    to: To | Faulty
    scope: Annotated[list[ScopeText | Faulty], Meta(min_length=1, max_length=100)] | Faulty
    quota: TokenQuota | Faulty
    models: (
        Annotated[
            list[Annotated[Text, Meta(description="a model's name; a last `-*` stands for any ending")] | Faulty],
            Meta(min_length=1, max_length=100),
        ]
        | Faulty
        | Absent
    ) = ABSENT
    source_ips: (
        Annotated[
            list[Annotated[str, Meta(description="a network: 198.51.100.0/24 or 2001:db8::/32")] | Faulty],
            Meta(min_length=1, max_length=100),
        ]
        | Faulty
        | Absent
    ) = ABSENT
    ttl: Annotated[Duration, Meta(description="how long a token lives: 5m to 1h")] | Faulty | Absent = ABSENT
    total: TotalQuota | Faulty | Absent = ABSENT


class PolicyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A policy: which keys there are, who vouches for callers, and who may have what."""

    keys: Annotated[dict[Name, KeyEntry | Faulty], Meta(min_length=1)] | Faulty
    grants: Annotated[dict[Name, GrantEntry | Faulty], Meta(min_length=1)] | Faulty
    issuers: Annotated[dict[Name, IssuerEntry | Faulty], Meta(min_length=1)] | Faulty | Absent = ABSENT


def seconds(duration: str) -> int:
    """Return the seconds of `90s`, `15m`, `1h` or `7d`."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def spelled(duration: int) -> str:
    """Return seconds as a policy file has them, in the largest unit that fits."""
    unit, length = next(one for one in reversed(_UNITS.items()) if duration % one[1] == 0)
    return f"{duration // length}{unit}"


def network_fault(text: str) -> str | None:
    """Return what a network must be: no host bits, canonical, and IPv4 as IPv4, the form that callers' addresses have."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:  # host bits that are set, too
        network = None
    mapped = isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None
    if network is None or mapped or "%" in text or str(network) != text.lower():
        return "a network, no bit of a host set, IPv4 as such: 198.51.100.0/24 or 2001:db8::/32"
    return None


def schema(providers: tuple[str, ...], presets: tuple[str, ...], algorithms: tuple[str, ...]) -> dict[str, Any]:
    """Return the file's JSON Schema (2020-12), with the names that this installation knows."""
    made: dict[str, Any] = _as_written(msgspec.json.schema(PolicyFile))
    # msgspec 0.22 crashes when it frees what it has made of "a text with a pattern, or a list", which otherwise happens at
    # the process's end (jcrist/msgspec#717, test_the_schema_s_process_ends_well).
    gc.freeze()
    types = made["$defs"]
    types["KeyEntry"]["properties"]["provider"]["enum"] = list(providers)
    types["IssuerEntry"]["properties"]["preset"]["enum"] = list(presets)
    types["IssuerEntry"]["properties"]["algorithms"]["items"]["enum"] = list(algorithms)
    types["To"]["oneOf"] = [
        {"required": ["issuer", "claims"], "not": {"anyOf": [{"required": ["aws"]}, {"required": ["via"]}]}},
        {"required": ["aws"], "not": {"required": ["claims"]}},
    ]
    types["To"]["dependentRequired"] = {"via": ["aws", "issuer"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Keybroker policy", **made}


def _as_written(schema: Any) -> Any:  # noqa: ANN401  JSON
    """The schema of what a file may hold: FAULTY, which is null to msgspec, is not for writing. A list has a value once."""
    if isinstance(schema, list):
        return [_as_written(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if {"type": "null"} in schema.get("anyOf", ()):
        choices = [one for one in schema["anyOf"] if one != {"type": "null"}]
        return _as_written(choices[0] if len(choices) == 1 else {"anyOf": choices})
    once = {"uniqueItems": True} if schema.get("type") == "array" else {}
    return {name: _as_written(value) for name, value in schema.items()} | once
