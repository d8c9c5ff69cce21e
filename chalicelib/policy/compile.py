"""The policy: what the file says, checked as a whole, as issuers and grants."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib import patterns, quota
from chalicelib.issuers import aws, registry
from chalicelib.issuers.presets import GENERIC, PRESETS, Preset
from chalicelib.policy.grants import AcceptedValues, Grant
from chalicelib.policy.reader import Path, Reader, each, path_of
from chalicelib.policy.schema import (
    GrantEntry,
    IssuerEntry,
    KeyEntry,
    Limits,
    PolicyFile,
    To,
    TokenQuota,
    TotalQuota,
    network_fault,
    schema,
    seconds,
    spelled,
)
from chalicelib.policy.yaml_nodes import Description, Fault, InvalidPolicyError, parse_yaml
from chalicelib.principal import AWS
from chalicelib.providers.keys import PROVIDERS
from chalicelib.tokens import jwk, jws, verify
from chalicelib.tokens.errors import InvalidTokenError

__all__ = ["Fault", "InstallationRules", "InvalidPolicyError", "Policy", "json_schema", "parse", "seconds"]

WEB_IDENTITY = "aws-web-identity"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that parsed. keys: name -> provider. lines: path of a field -> its line in the file."""

    keys: Mapping[str, str]
    issuers: Mapping[str, registry.Issuer]
    grants: Mapping[str, Grant]
    file: str
    lines: Mapping[Path, int]


@dataclass(frozen=True, slots=True)
class InstallationRules:
    """What differs between installations: the presets known, and whether http:// issuers on this machine are let in."""

    presets: Mapping[str, Preset]
    loopback_issuers: bool = False


DEPLOYED = InstallationRules(PRESETS)


def parse(text: str, file: str = "keybroker.yaml", rules: InstallationRules = DEPLOYED) -> Policy:
    """Read a policy file; raises InvalidPolicyError with every fault of it."""
    reader = Reader(file)
    read = reader.members(parse_yaml(text, file), PolicyFile, ())
    # What parsed is checked even where something else did not, so that one run shows every fault.
    keys, entries, wanted = (read.get(part) or {} for part in ("keys", "issuers", "grants"))
    for name, entry in keys.items():
        reader.check_one_of(entry and entry.provider, PROVIDERS, ("keys", name, "provider"))
    known = {name: _issuer(name, entry, reader, rules) for name, entry in entries.items()}
    _check_urls_once(entries, rules, reader)
    around = _Context(reader, keys, known)
    grants = {name: _grant(name, entry, around) for name, entry in wanted.items()}
    reader.raise_faults()
    return Policy(
        keys={name: entry.provider for name, entry in keys.items()},
        issuers={name: one for name, one in known.items() if one},
        grants={name: one for name, one in grants.items() if one},
        file=file,
        lines=reader.lines,
    )


def json_schema(rules: InstallationRules = DEPLOYED) -> dict[str, Any]:
    """Return the file's JSON Schema, generated from the types that `parse` reads it with."""
    return schema(tuple(PROVIDERS), tuple(rules.presets), tuple(sorted(jwk.ALGORITHMS)))


@dataclass(frozen=True, slots=True)
class _Context:
    """What a grant is read with. keys, issuers: by name; an issuer with a fault is None."""

    reader: Reader
    keys: Mapping[str, KeyEntry]
    issuers: Mapping[str, registry.Issuer | None]


# From here on, `| None` in a parameter of what a file says is: not there, or there with a fault that is noted already.


def _issuer(name: str, entry: IssuerEntry | None, reader: Reader, rules: InstallationRules) -> registry.Issuer | None:
    path = ("issuers", name)
    if entry is None:
        return None
    preset = _preset(entry, rules, reader, path)
    url = entry.url or (preset.url if preset else None)
    _check_url(url, preset, rules, reader, path)
    audience = entry.audience or (preset.audience if preset else None)
    if audience is None and preset and (*path, "audience") not in reader.lines:
        reader.fault(path, "a field 'audience'", Description("no audience"))
    algorithms = tuple(entry.algorithms or (preset.algorithms if preset else ()))
    for where, one in each(algorithms, (*path, "algorithms")):
        reader.check_one_of(one, sorted(jwk.ALGORITHMS), where)
    _check_jwks(entry.jwks, algorithms, reader, (*path, "jwks"))
    if url and url.startswith(jws.SPIFFE) and (*path, "jwks") not in reader.lines:
        reader.fault(path, "a field 'jwks': a trust domain has no discovery", Description("no jwks"))
    lifetime = _duration(entry.max_lifetime, (*path, "max_lifetime"), (60, 7 * 86400), reader)
    if not reader.sound(path) or preset is None or url is None or audience is None:
        return None
    return registry.Issuer(
        name=name,
        url=url,
        preset=entry.preset or "",
        audience=audience,
        algorithms=algorithms,
        max_lifetime=lifetime or preset.max_lifetime,
        single_use=preset.single_use if entry.single_use is None else entry.single_use,
        identity=preset.identity,
        label=preset.label,
        required=preset.required,
        refused=preset.refused,
        jwks=entry.jwks,
    )


def _preset(entry: IssuerEntry, rules: InstallationRules, reader: Reader, path: Path) -> Preset | None:
    if entry.preset is None:
        return None if (*path, "preset") in reader.lines else GENERIC
    reader.check_one_of(entry.preset, rules.presets, (*path, "preset"))
    return rules.presets.get(entry.preset)


def _check_url(url: str | None, preset: Preset | None, rules: InstallationRules, reader: Reader, path: Path) -> None:
    forms = preset.forms if preset else ()
    if url is None:
        if preset and (*path, "url") not in reader.lines:
            reader.fault(path, "a field 'url'" + (f" like {forms[0]}" if forms else ""), Description("no url"))
    elif fault := registry.url_fault(url, allow_loopback=rules.loopback_issuers):
        reader.fault((*path, "url"), fault, url)
    elif not registry.fits(url, forms):
        reader.fault((*path, "url"), f"a URL like {' or '.join(forms)}", url)


def _check_urls_once(entries: Mapping[str, IssuerEntry | None], rules: InstallationRules, reader: Reader) -> None:
    seen: dict[str, str] = {}
    for name, entry in entries.items():
        preset = rules.presets.get(entry.preset) if entry and entry.preset else None
        url = entry and (entry.url or (preset.url if preset else None))
        if url and url in seen:
            reader.fault(("issuers", name), f"an issuer's URL once ({seen[url]} has it)", url)
        elif url:
            seen[url] = name


def _check_jwks(jwks: Mapping[str, Any] | None, algorithms: Iterable[str], reader: Reader, path: Path) -> None:
    if jwks is None:
        return
    members = jwks.get("keys")
    if isinstance(members, list) and any(isinstance(one, dict) and {"d", "k"} & one.keys() for one in members):
        found = Description("a key that is private or shared: replace it, it is known by now")
        reader.fault(path, "a JWKS of public keys", found)
        return
    try:
        if not jwk.key_set(jwks, algorithms):
            reader.fault(path, f"a JWKS with a key for {', '.join(algorithms)}", Description("none"))
    except InvalidTokenError as invalid:
        reader.fault(path, "a JWKS of public keys, each kid once", Description(invalid.reason))


def _grant(name: str, entry: GrantEntry | None, around: _Context) -> Grant | None:
    reader, path = around.reader, ("grants", name)
    if entry is None:
        return None
    reader.check_one_of(entry.key, around.keys, (*path, "key"))
    issuer, claims = _to(entry.to, around, (*path, "to"))
    reader.check_each(entry.scope, patterns.scope_fault, (*path, "scope"))
    reader.check_each(entry.models, patterns.model_fault, (*path, "models"))
    reader.check_each(entry.source_ips, network_fault, (*path, "source_ips"))
    ttl = _duration(entry.ttl, (*path, "ttl"), (verify.TTL_LEAST, verify.TTL_CEILING), reader)
    token_limits, call_limits = _quota(entry.quota, reader, (*path, "quota"))
    _, total_limits = _quota(entry.total, reader, (*path, "total"))
    if not reader.sound(path):
        return None
    return Grant(
        name=name,
        key=entry.key,
        issuer=issuer,
        claims=claims,
        scope=tuple(entry.scope),
        ttl=ttl or verify.TTL_DEFAULT,
        token_limits=token_limits,
        call_limits=call_limits,
        total_limits=total_limits,
        models=tuple(entry.models) if entry.models is not None else None,
        source_ips=tuple(entry.source_ips) if entry.source_ips is not None else None,
    )


Claims = tuple[tuple[Path, AcceptedValues], ...]


def _to(to: To | None, around: _Context, path: Path) -> tuple[str, Claims]:
    """The issuer's URL (or `aws`) and the claims that a grant wants of it; with a fault, whatever could be read."""
    reader = around.reader
    given = {field for field in ("issuer", "claims", "aws", "via") if (*path, field) in reader.lines}
    if to is None:
        return "", ()
    if "aws" in given:
        return _to_aws(to, given, around, path)
    if given != {"issuer", "claims"}:
        reader.fault(path, "`issuer` and `claims`, or `aws`", Description(", ".join(sorted(given)) or "none of them"))
    issuer = _known(to.issuer, around, path)
    if "claims" in given and issuer and issuer.preset == WEB_IDENTITY:
        text = "`aws` with `via: web-identity`: the account is pinned then, and the role is written as AWS writes it"
        reader.fault(path, text, Description("claims"))
    return issuer.url if issuer else "", _claims(to.claims, reader, (*path, "claims"))


def _to_aws(to: To, given: Container[str], around: _Context, path: Path) -> tuple[str, Claims]:
    reader = around.reader
    if "claims" in given:
        reader.fault((*path, "claims"), "`aws` alone", Description("claims beside it"))
    fault = aws.grant_arn_fault(to.aws) if to.aws else None
    if to.aws and fault:
        reader.fault((*path, "aws"), fault, to.aws)
    issuer = _known(to.issuer, around, path)
    if "via" not in given and "issuer" in given:
        reader.fault((*path, "issuer"), "`aws` alone, or `via: web-identity`", to.issuer)
    if "via" in given and ("issuer" not in given or (issuer and issuer.preset != WEB_IDENTITY)):
        reader.fault(
            path,
            f"an `issuer` of preset {WEB_IDENTITY} beside `via: web-identity`",
            to.issuer or Description("no issuer"),
        )
    if to.aws is None or not reader.sound(path):
        return "", ()
    account = (to.aws.split(":")[4],)
    if issuer is None:
        return AWS, ((("aws_account",), account), (("aws",), (aws.without_role_path(to.aws),)))
    return issuer.url, ((("https://sts.amazonaws.com/", "aws_account"), account), (("sub",), (to.aws,)))


def _claims(claims: Mapping[str, Any] | None, reader: Reader, path: Path) -> Claims:
    found: dict[Path, AcceptedValues] = {}
    for claim, value in (claims or {}).items():
        here, names = (*path, claim), path_of(claim)
        if names is None:
            if reader.sound(here):
                reader.fault(here, 'a claim\'s name, or a list of names: ["a", "b"]', claim)
        elif names in found:
            reader.fault(here, "each claim once", claim)
        else:
            found[names] = tuple(value) if isinstance(value, list) else (value,)
        for where, one in each(value, here) if isinstance(value, list) else [(here, value)]:
            if isinstance(one, str) and (fault := patterns.fault(one)):
                reader.fault(where, fault, one)
    return tuple(found.items())


def _known(name: str | None, around: _Context, path: Path) -> registry.Issuer | None:
    around.reader.check_one_of(name, around.issuers, (*path, "issuer"))
    return around.issuers.get(name) if name else None


def _quota(entry: TokenQuota | TotalQuota | None, reader: Reader, path: Path) -> tuple[tuple[quota.Limit, ...], ...]:
    """The limits of tokens and of calls."""
    found = (getattr(entry, what, None) for what in ("tokens", "calls"))
    return tuple(_limits(one, (*path, what), reader) for what, one in zip(("tokens", "calls"), found, strict=True))


def _limits(texts: Limits | None, path: Path, reader: Reader) -> tuple[quota.Limit, ...]:
    limits: dict[str, quota.Limit] = {}
    listed = isinstance(texts, list)
    for where, text in each(texts if isinstance(texts, list) else [texts], path):
        limit = quota.parse(text)
        if limit is None:
            reader.fault(where if listed else path, f"N from 1 to {quota.COUNT_LIMIT}", text)
        elif limit.window in limits:
            reader.fault(where, "one limit for each window", text)
        else:
            limits[limit.window] = limit
    return tuple(limits.values())


def _duration(text: str | None, path: Path, within: tuple[int, int], reader: Reader) -> int | None:
    if text is None:
        return None
    found, (least, most) = seconds(text), within
    if not least <= found <= most:
        reader.fault(path, f"{spelled(least)} to {spelled(most)}", text)
    return found
