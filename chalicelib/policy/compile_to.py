"""Whom a grant is for: the claims of an issuer, or an AWS principal, which is claims too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib import patterns
from chalicelib.issuers import aws, presets
from chalicelib.issuers.registry import Issuer
from chalicelib.policy import schema
from chalicelib.policy.accepted_values import AcceptedValue, AcceptedValues, Contains, Value
from chalicelib.policy.checks import check_one_of, claim_path
from chalicelib.policy.faults import ABSENT, FAULTY, Absent, Description, Faulty, Path
from chalicelib.policy.reader import Faults
from chalicelib.policy.schema import MOST_VALUES, To
from chalicelib.principal import AWS

_WITH_AWS_PRINCIPALS = " or ".join(name for name, one in presets.PRESETS.items() if one.aws_principals)
_STS = "https://sts.amazonaws.com/"
"""The claim whose members describe the AWS principal in tokens of AWS's issuer."""

Issuers = Mapping[str, Issuer | Faulty]


class Match(NamedTuple):
    """Which claims of which issuer a grant asks for."""

    issuer: str
    """The issuer's URL, or `aws`."""
    claims: tuple[tuple[Path, AcceptedValues], ...]


def compile_to(to: To, issuers: Issuers, path: Path, faults: Faults) -> Match | Faulty:
    """Return whom a grant is for, FAULTY if a field of it is."""
    issuer = _issuer(to, issuers, path, faults)
    return _match_claims(to, issuer, path, faults) if to.aws is ABSENT else _match_aws(to, to.aws, issuer, path, faults)


def _issuer(to: To, issuers: Issuers, path: Path, faults: Faults) -> Issuer | Faulty | Absent:
    if to.issuer is ABSENT:
        return ABSENT
    name = check_one_of(to.issuer, issuers, (*path, "issuer"), faults)
    return FAULTY if name is FAULTY else issuers[name]


def _match_claims(to: To, issuer: Issuer | Faulty | Absent, path: Path, faults: Faults) -> Match | Faulty:
    given = {name for name in ("issuer", "claims", "via") if getattr(to, name) is not ABSENT}
    if given != {"issuer", "claims"}:
        found = Description(", ".join(sorted(given)) or "none of them")
        faults.note(path, "`issuer` and `claims`, or `aws`", found)
    if to.claims is ABSENT:
        return FAULTY
    claims = FAULTY if to.claims is FAULTY else _claims(to.claims, (*path, "claims"), faults)
    if not isinstance(issuer, Issuer):
        return FAULTY
    if presets.find(issuer.preset).aws_principals:
        text = "`aws` with `via: web-identity`: the account is pinned then, and the role is written as AWS writes it"
        faults.note(path, text, Description("claims"))
        return FAULTY
    return FAULTY if claims is FAULTY else Match(issuer.url, claims)


def _match_aws(
    to: To, arn: str | Faulty, issuer: Issuer | Faulty | Absent, path: Path, faults: Faults
) -> Match | Faulty:
    found = list(_aws_faults(to, issuer))
    for field, allowed, text in found:
        faults.note((*path, *field), allowed, text)
    if found or arn is FAULTY or issuer is FAULTY:
        return FAULTY
    account = (arn.split(":")[4],)
    if issuer is ABSENT:
        return Match(AWS, ((("aws_account",), account), (("aws",), (aws.without_role_path(arn),))))
    return Match(issuer.url, (((_STS, "aws_account"), account), (("sub",), (arn,))))


def _aws_faults(to: To, issuer: Issuer | Faulty | Absent) -> Iterator[tuple[Path, str, object]]:
    """What is wrong with `aws` together with the other fields: field, what is allowed, what was found."""
    if to.claims is not ABSENT:
        yield ("claims",), "`aws` alone", Description("claims as well")
    if isinstance(to.aws, str) and (fault := aws.grant_arn_fault(to.aws)):
        yield ("aws",), fault, to.aws
    if to.via is ABSENT and to.issuer is not ABSENT:
        yield ("issuer",), "`aws` alone, or `via: web-identity`", to.issuer
    elif to.via is not ABSENT and (to.issuer is ABSENT or (issuer and not presets.find(issuer.preset).aws_principals)):
        allowed = f"an `issuer` of preset {_WITH_AWS_PRINCIPALS} beside `via: web-identity`"
        yield (), allowed, to.issuer if isinstance(to.issuer, str) else Description("no issuer")


def _claims(claims: Mapping[str, Any], path: Path, faults: Faults) -> tuple[tuple[Path, AcceptedValues], ...] | Faulty:
    found: dict[Path, AcceptedValues | Faulty] = {}
    for claim, value in claims.items():
        here, names = (*path, claim), claim_path(claim)
        if names is None and claim.startswith('["') and claim.endswith('"]'):  # else the reader has noted it
            faults.note(here, 'a claim\'s name, or a list of names: ["a", "b"]', claim)
        elif names in found:
            faults.note(here, "each claim once", claim)
        values = _values(value, here, faults)
        if names is not None:
            found.setdefault(names, values)
    sound = [(names, values) for names, values in found.items() if values is not FAULTY]
    return tuple(sound) if len(sound) == len(claims) else FAULTY


def _values(value: Any, path: Path, faults: Faults) -> AcceptedValues | Faulty:  # noqa: ANN401  as in the schema
    """Return the values that a claim may have: one, or those of a list, each of which may be in a list that it is."""
    written = (
        [((*path, str(index)), one) for index, one in enumerate(value)] if isinstance(value, list) else [(path, value)]
    )
    found = [one for here, each in written for one in _accepted(each, here, faults)]
    sound = [one for _, one in found if one is not FAULTY]
    seen: set[tuple[str, str]] = set()
    for here, one in found:
        kind = (type(one).__name__, repr(one))
        if one is not FAULTY and kind in seen:
            faults.note(here, "each value once", one.value if isinstance(one, Contains) else one)
        seen.add(kind)
    if len(found) > MOST_VALUES:
        faults.note(path, f"at most {MOST_VALUES}", len(found))
    return tuple(sound) if len(sound) == len(found) else FAULTY


def _accepted(value: Any, path: Path, faults: Faults) -> Iterator[tuple[Path, AcceptedValue | Faulty]]:  # noqa: ANN401  as in the schema
    """Yield the values of one entry, each with where it is; FAULTY for each that has a fault."""
    if not isinstance(value, schema.Contains):
        yield path, _value(value, path, faults)
        return
    here, inner = (*path, "contains"), value.contains
    written = (
        [((*here, str(index)), one) for index, one in enumerate(inner)] if isinstance(inner, list) else [(here, inner)]
    )
    for place, one in written:
        sound = _value(one, place, faults)
        yield place, FAULTY if sound is FAULTY else Contains(sound)


def _value(value: Value | Faulty, path: Path, faults: Faults) -> Value | Faulty:
    fault = patterns.claim_fault(value) if isinstance(value, str) else None
    if fault:
        faults.note(path, fault, value)
    return FAULTY if fault else value
