"""A grant of the policy file, made of its entry and of the keys and issuers that it names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeVar

from chalicelib import budget, patterns, quota
from chalicelib.budget import BudgetLimit
from chalicelib.issuers.registry import Issuer
from chalicelib.policy.checks import check_duration, check_each, check_one_of
from chalicelib.policy.compile_issuer import InstallationRules
from chalicelib.policy.compile_to import compile_to
from chalicelib.policy.faults import ABSENT, FAULTY, Absent, Faulty, Path
from chalicelib.policy.grants import Grant
from chalicelib.policy.reader import Faults
from chalicelib.policy.schema import GrantEntry, Limits, SpendLimits, TokenQuota, TotalQuota, UsageLimits, network_fault
from chalicelib.tokens import verify

TTLS = (verify.TTL_LEAST, verify.TTL_CEILING)
"""Seconds: the least and the most that `ttl` may be."""


UNSEEN = "nothing here: Lambda@Edge sees no answer, so that no limit of what models take would hold"
"""What is said of a budget where nobody could hold anyone to it."""


def compile_grant(  # noqa: PLR0913, PLR0917  what a grant is made of
    name: str,
    entry: GrantEntry,
    keys: Collection[str],
    issuers: Mapping[str, Issuer | Faulty],
    rules: InstallationRules,
    faults: Faults,
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
    budgets = _budgets(entry, path, rules, faults)
    if key is FAULTY or to is FAULTY or scope is FAULTY or models is FAULTY or source_ips is FAULTY:
        return FAULTY
    if ttl is FAULTY or tokens is FAULTY or calls is FAULTY or total is FAULTY or budgets is FAULTY:
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
        budgets=budgets,
    )


def _optional_list(
    texts: list[str | Faulty] | Faulty | Absent, fault_of: Callable[[str], str | None], path: Path, faults: Faults
) -> tuple[str, ...] | Faulty | Absent:
    return ABSENT if texts is ABSENT else check_each(texts, fault_of, path, faults)


def _total(entry: GrantEntry, path: Path, faults: Faults) -> tuple[quota.Limit, ...] | Faulty:
    if entry.total is ABSENT:
        return ()
    if entry.total is FAULTY:
        return FAULTY
    return () if entry.total.calls is ABSENT else _limits(entry.total.calls, (*path, "total", "calls"), faults)


def _limits(texts: Limits | Faulty, path: Path, faults: Faults) -> tuple[quota.Limit, ...] | Faulty:
    """Return one limit, or a list of them with a window each."""
    return _each_window(texts, quota.parse, f"N from 1 to {quota.COUNT_LIMIT}", path, faults)


def _budgets(
    entry: GrantEntry, path: Path, rules: InstallationRules, faults: Faults
) -> tuple[BudgetLimit, ...] | Faulty:
    """Return what models may take for each principal and, shared, for all of them; FAULTY where no edge could hold that."""
    found: list[BudgetLimit] = []
    is_faulty = False
    for field, quotas in (("quota", entry.quota), ("total", entry.total)):
        limits = () if quotas is ABSENT else _budgets_of(quotas, (*path, field), rules, faults)
        is_faulty |= limits is FAULTY
        found += [one._replace(shared=field == "total") for one in limits or ()]
    return FAULTY if is_faulty else tuple(found)


def _budgets_of(
    quotas: TokenQuota | TotalQuota | Faulty, path: Path, rules: InstallationRules, faults: Faults
) -> tuple[BudgetLimit, ...] | Faulty:
    if quotas is FAULTY:
        return FAULTY
    found: list[BudgetLimit] = []
    is_faulty = False
    for what, texts in (("usage", quotas.usage), ("spend", quotas.spend)):
        limits = () if texts is ABSENT else _budget(what, texts, (*path, what), rules, faults)
        is_faulty |= limits is FAULTY
        found += limits or ()
    return FAULTY if is_faulty else tuple(found)


def _budget(
    what: str, texts: UsageLimits | SpendLimits | Faulty, path: Path, rules: InstallationRules, faults: Faults
) -> tuple[BudgetLimit, ...] | Faulty:
    # SECURITY: a limit that nobody holds anyone to would be none (test_a_budget_where_no_edge_sees_answers).
    if not rules.sees_answers:
        faults.note(path, UNSEEN, texts)
        return FAULTY
    most = budget.amount_text(what, budget.MOST)
    return _each_window(texts, lambda text: budget.parse(what, text), f"more than 0 and at most {most}", path, faults)


class _Windowed(Protocol):
    @property
    def window(self) -> str: ...


_Limit = TypeVar("_Limit", bound=_Windowed)


def _each_window(
    texts: str | list[str | Faulty] | Faulty,
    parse: Callable[[str], _Limit | None],
    allowed: str,
    path: Path,
    faults: Faults,
) -> tuple[_Limit, ...] | Faulty:
    """Return one limit, or a list of them with a window each."""
    many = isinstance(texts, list)
    found: dict[str, _Limit] = {}
    for index, text in enumerate(texts if isinstance(texts, list) else [texts]):
        here = (*path, str(index)) if many else path
        limit = None if text is FAULTY else parse(text)
        if limit is not None and limit.window in found:
            faults.note(here, "one limit for each window", text)
        elif limit is not None:
            found[limit.window] = limit
        elif text is not FAULTY:
            faults.note(here, allowed, text)
    return tuple(found.values()) if len(found) == (len(texts) if isinstance(texts, list) else 1) else FAULTY
