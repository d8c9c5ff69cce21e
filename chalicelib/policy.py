"""The policy file: read strictly, every fault with its line, into issuers and grants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib import issuers, jwk, patterns, quota, tokens
from chalicelib.grants import Grant, Wanted
from chalicelib.issuers import Issuer, Preset
from chalicelib.policy_text import Fault, Node, PolicyInvalid, Reader, read
from chalicelib.providers import PROVIDERS
from chalicelib.quota import Limit

__all__ = ["Dialect", "Fault", "Policy", "PolicyInvalid", "parse"]

_NAME = "a name of 1 to 64 letters, digits, `-` and `_`"
_DURATION = "a duration: 90s, 15m, 1h or 7d"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that parsed. keys: name -> provider."""

    keys: Mapping[str, str]
    issuers: Mapping[str, Issuer]
    grants: Mapping[str, Grant]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between installations: the presets known, and whether http:// issuers on this machine are let in."""

    presets: Mapping[str, Preset]
    loopback_issuers: bool = False


DEPLOYED = Dialect(issuers.PRESETS)


def parse(text: str, file: str = "keybroker.yaml", dialect: Dialect = DEPLOYED) -> Policy:
    """Read a policy file; raises PolicyInvalid with every fault of it."""
    reader = Reader(file)
    top = read(text, reader).fields(required=("keys", "issuers", "grants"))
    keys = {name: _key(node) for name, node in _named(top.get("keys"))}
    found = {name: _issuer(name, node, dialect) for name, node in _named(top.get("issuers"))}
    urls = [one.url for one in found.values() if one]
    for name, node in _named(top.get("issuers")):
        issuer = found[name]
        if issuer and urls.count(issuer.url) > 1:
            node.fault("an issuer's URL once", issuer.url)
    grants = {name: _grant(name, node, keys, found) for name, node in _named(top.get("grants"))}
    reader.raise_faults()
    return Policy(
        {name: one for name, one in keys.items() if one},
        {name: one for name, one in found.items() if one},
        {name: one for name, one in grants.items() if one},
    )


def _named(node: Node | None) -> list[tuple[str, Node]]:
    entries = node.mapping() if node else []
    for name, entry in entries:
        if not (0 < len(name) <= 64 and name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            entry.fault(_NAME, name)
    return entries


def _key(node: Node) -> str | None:
    fields = node.fields(required=("provider",))
    return fields["provider"].choice(PROVIDERS) if "provider" in fields else None


def _issuer(name: str, node: Node, dialect: Dialect) -> Issuer | None:
    optional = ("preset", "url", "algorithms", "max_lifetime", "single_use")
    fields = node.fields(required=("audience",), optional=optional)
    preset = issuers.GENERIC
    if "preset" in fields:
        preset = dialect.presets.get(fields["preset"].choice(dialect.presets) or "", issuers.GENERIC)
    url = _url(node, fields, preset, dialect)
    audience = fields["audience"].string() if "audience" in fields else None
    algorithms = preset.algorithms
    if "algorithms" in fields:
        allowed = [one.choice(_ALGORITHMS) for one in fields["algorithms"].sequence()]
        algorithms = tuple(one for one in allowed if one)
    lifetime = _duration(fields.get("max_lifetime"), 60, 7 * 86400)
    single_use = fields["single_use"].boolean() if "single_use" in fields else preset.single_use
    if url is None or audience is None:
        return None
    return Issuer(
        name=name,
        url=url,
        audience=audience,
        algorithms=algorithms,
        max_lifetime=lifetime or preset.max_lifetime,
        single_use=bool(single_use),
        identity=preset.identity,
        label=preset.label,
        required=preset.required,
        refused=preset.refused,
    )


_ALGORITHMS = {name: name for name in sorted(jwk.ALGORITHMS)}


def _url(node: Node, fields: Mapping[str, Node], preset: Preset, dialect: Dialect) -> str | None:
    if "url" not in fields:
        if preset.url is None:
            node.fault("a field `url`", "no url")
        return preset.url
    url = fields["url"].string()
    fault = issuers.url_fault(url, allow_loopback=dialect.loopback_issuers) if url is not None else None
    if fault:
        fields["url"].fault(fault, url)
    return url


def _grant(name: str, node: Node, keys: Mapping[str, str | None], known: Mapping[str, Issuer | None]) -> Grant | None:
    fields = node.fields(required=("key", "to", "scope", "quota"), optional=("ttl",))
    key = fields["key"].choice(keys) if "key" in fields else None
    issuer, claims = _to(fields["to"], known) if "to" in fields else (None, ())
    scope = tuple(_scope(one) for one in fields["scope"].sequence()) if "scope" in fields else ()
    ttl = _duration(fields.get("ttl"), tokens.TTL_LEAST, tokens.TTL_CEILING)
    token_limits, call_limits = _quota(fields["quota"]) if "quota" in fields else ((), ())
    if key is None or issuer is None:
        return None
    return Grant(
        name=name,
        key=key,
        issuer=issuer.url,
        claims=claims,
        scope=tuple(one for one in scope if one),
        ttl=ttl or tokens.TTL_DEFAULT,
        token_limits=token_limits,
        call_limits=call_limits,
    )


def _to(node: Node, known: Mapping[str, Issuer | None]) -> tuple[Issuer | None, tuple[Any, ...]]:
    fields = node.fields(required=("issuer", "claims"))
    name = fields["issuer"].choice(known) if "issuer" in fields else None
    claims = fields["claims"].mapping() if "claims" in fields else []
    return known.get(name or ""), tuple(((claim,), _wanted(value)) for claim, value in claims)


def _wanted(node: Node) -> Wanted:
    values = tuple(one.claim_value() for one in (node.sequence() if node.is_sequence() else [node]))
    for value in values:
        fault = patterns.fault(value) if isinstance(value, str) else None
        if fault:
            node.fault(fault, value)
    return tuple(value for value in values if value is not None)


def _scope(node: Node) -> str | None:
    value = node.string()
    method, _, path = (value or "").partition(":")
    fault = patterns.fault(value) if value else None
    if value and (not method.isalpha() or not method.isupper() or not path.startswith("/") or fault or " " in value):
        node.fault(fault or "METHOD:/path", value)
    return value


def _quota(node: Node) -> tuple[tuple[Limit, ...], tuple[Limit, ...]]:
    fields = node.fields(required=("tokens", "calls"))
    return _limits(fields.get("tokens")), _limits(fields.get("calls"))


def _limits(node: Node | None) -> tuple[Limit, ...]:
    if node is None:
        return ()
    limits: list[Limit] = []
    for one in node.sequence() if node.is_sequence() else [node]:
        limit = quota.parse(one.scalar())
        if limit is None:
            one.fault("N/minute, N/hour or N/day with N from 1 to 1000000000", one.scalar())
        elif limit.window in {other.window for other in limits}:
            one.fault("one limit for each window", one.scalar())
        else:
            limits.append(limit)
    return tuple(limits)


def _duration(node: Node | None, least: int, most: int) -> int | None:
    if node is None:
        return None
    text = node.scalar()
    count, unit = (text[:-1], text[-1:]) if isinstance(text, str) else ("", "")
    if not (count.isascii() and count.isdigit() and len(count) <= 6 and unit in _SECONDS):
        node.fault(_DURATION, text)
        return None
    seconds = int(count) * _SECONDS[unit]
    if not least <= seconds <= most:
        node.fault(f"{least}s to {most}s", text)
    return seconds
