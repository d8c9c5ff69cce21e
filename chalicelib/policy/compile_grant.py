"""A grant of the policy file, made of its entry and of the keys and issuers that it names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from chalicelib import patterns, quota
from chalicelib.issuers.registry import Issuer
from chalicelib.policy.checks import check_duration, check_each, check_one_of
from chalicelib.policy.compile_to import compile_to
from chalicelib.policy.faults import ABSENT, FAULTY, Absent, Faulty, Path
from chalicelib.policy.grants import Grant
from chalicelib.policy.reader import Faults
from chalicelib.policy.schema import GrantEntry, Limits, network_fault
from chalicelib.tokens import verify

TTLS = (verify.TTL_LEAST, verify.TTL_CEILING)
"""Seconds: the least and the most that `ttl` may be."""


def compile_grant(
    name: str, entry: GrantEntry, keys: Collection[str], issuers: Mapping[str, Issuer | Faulty], faults: Faults
) -> Grant | Faulty:
    """Return the grant, FAULTY if a field of it is. keys, issuers: those of the file, by name."""
    path = ("grants", name)
    key = check_one_of(entry.key, keys, (*path, "key"), faults)
    to = FAULTY if entry.to is FAULTY else compile_to(entry.to, issuers, (*path, "to"), faults)
    scope = check_each(entry.scope, patterns.scope_fault, (*path, "scope"), faults)
    models = _optional_list(entry.models, patterns.model_fault, (*path, "models"), faults)
    source_ips = _optional_list(entry.source_ips, network_fault, (*path, "source_ips"), faults)
    ttl = verify.TTL_DEFAULT if entry.ttl is ABSENT else check_duration(entry.ttl, TTLS, (*path, "ttl"), faults)
    tokens = FAULTY if entry.quota is FAULTY else _limits(entry.quota.tokens, (*path, "quota", "tokens"), faults)
    calls = FAULTY if entry.quota is FAULTY else _limits(entry.quota.calls, (*path, "quota", "calls"), faults)
    total = _total(entry, path, faults)
    if key is FAULTY or to is FAULTY or scope is FAULTY or models is FAULTY or source_ips is FAULTY:
        return FAULTY
    if ttl is FAULTY or tokens is FAULTY or calls is FAULTY or total is FAULTY:
        return FAULTY
    return Grant(
        name=name,
        key=key,
        issuer=to.issuer,
        claims=to.claims,
        scope=scope,
        ttl=ttl,
        token_limits=tokens,
        call_limits=calls,
        total_limits=total,
        models=None if models is ABSENT else models,
        source_ips=None if source_ips is ABSENT else source_ips,
    )


def _optional_list(
    texts: list[str | Faulty] | Faulty | Absent, fault_of: Callable[[str], str | None], path: Path, faults: Faults
) -> tuple[str, ...] | Faulty | Absent:
    return ABSENT if texts is ABSENT else check_each(texts, fault_of, path, faults)


def _total(entry: GrantEntry, path: Path, faults: Faults) -> tuple[quota.Limit, ...] | Faulty:
    if entry.total is ABSENT:
        return ()
    return FAULTY if entry.total is FAULTY else _limits(entry.total.calls, (*path, "total", "calls"), faults)


def _limits(texts: Limits | Faulty, path: Path, faults: Faults) -> tuple[quota.Limit, ...] | Faulty:
    """Return one limit, or a list of them with a window each."""
    if not isinstance(texts, list):
        limit = _limit(texts, path, faults)
        return FAULTY if limit is FAULTY else (limit,)
    found: dict[str, quota.Limit] = {}
    for index, text in enumerate(texts):
        here = (*path, str(index))
        limit = _limit(text, here, faults)
        if limit is not FAULTY and limit.window in found:
            faults.note(here, "one limit for each window", text)
        elif limit is not FAULTY:
            found[limit.window] = limit
    return tuple(found.values()) if len(found) == len(texts) else FAULTY


def _limit(text: str | Faulty, path: Path, faults: Faults) -> quota.Limit | Faulty:
    if text is FAULTY:
        return FAULTY
    limit = quota.parse(text)
    if limit is None:
        faults.note(path, f"N from 1 to {quota.COUNT_LIMIT}", text)
        return FAULTY
    return limit
