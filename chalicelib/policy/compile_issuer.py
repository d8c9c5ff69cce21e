"""An issuer of the policy file, made of its entry and of what its preset knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.issuers import registry
from chalicelib.issuers.entry import Preset
from chalicelib.issuers.presets import GENERIC
from chalicelib.policy.checks import check_duration, check_each, check_one_of
from chalicelib.policy.faults import ABSENT, FAULTY, Absent, Description, Faulty, Path
from chalicelib.policy.reader import Faults
from chalicelib.policy.schema import IssuerEntry
from chalicelib.providers.federated import BROKER
from chalicelib.tokens import jwk, jws
from chalicelib.tokens.errors import InvalidTokenError

LIFETIMES = (60, 7 * 86_400)
"""Seconds: the least and the most that `max_lifetime` may be."""


@dataclass(frozen=True, slots=True)
class InstallationRules:
    """What differs between installations."""

    presets: Mapping[str, Preset]
    """The presets that a file may name."""
    loopback_issuers: bool = False
    """Whether issuers on this machine may use http://."""
    own_urls: tuple[str, ...] = ()
    """The broker's own issuers, which vouch for nobody here; () where it does not know its own URL."""
    identity: str = BROKER
    """Who vouches for this installation at providers unless a key says otherwise: a name of `federated.SIGNED_BY`."""
    subjects: str = ""
    """What the subjects of the broker's own assertions start with, before the key's name; "" where it does not know its own URL."""
    issuer_is_public: bool = True
    """Whether providers can read the keys of the broker's own issuer over the internet, as far as is known."""
    sees_answers: bool = False
    """Whether there are edges that see answers, and so can hold what models take to a limit. Any other admits nobody under it."""


def compile_issuer(name: str, entry: IssuerEntry, rules: InstallationRules, faults: Faults) -> registry.Issuer | Faulty:
    """Return the issuer, FAULTY if a field of it is."""
    path = ("issuers", name)
    if entry.preset is not ABSENT:
        check_one_of(entry.preset, rules.presets, (*path, "preset"), faults)
    preset = _preset(entry, rules)
    url = _check_url(_url(entry, preset), preset, rules, path, faults)
    audiences = _audiences(entry, preset, path, faults)
    algorithms = _algorithms(entry, preset, path, faults)
    jwks = _jwks(entry, preset, path, faults)
    lifetime = _lifetime(entry, preset, path, faults)
    if preset is FAULTY or url is FAULTY or audiences is FAULTY or algorithms is FAULTY:
        return FAULTY
    if jwks is FAULTY or lifetime is FAULTY or entry.preset is FAULTY or entry.single_use is FAULTY:
        return FAULTY
    return registry.Issuer(
        name=name,
        url=url,
        preset="" if entry.preset is ABSENT else entry.preset,
        audience=audiences[0],
        algorithms=algorithms,
        max_lifetime=lifetime,
        single_use=preset.single_use if entry.single_use is ABSENT else entry.single_use,
        identity=preset.identity,
        label=preset.label,
        required=preset.required,
        refused=preset.refused,
        jwks=None if jwks is ABSENT else jwks,
        other_audiences=audiences[1:],
    )


def check_urls(entries: Mapping[str, IssuerEntry | Faulty], rules: InstallationRules, faults: Faults) -> None:
    """Note a fault at each issuer whose URL one above it has."""
    seen: dict[str, str] = {}
    for name, entry in entries.items():
        url = FAULTY if entry is FAULTY else _url(entry, _preset(entry, rules))
        if url is FAULTY or url is ABSENT:
            continue
        if url.rstrip("/").lower() in rules.own_urls:
            # SECURITY: what we sign for providers must let nobody in here (test_our_own_issuer_is_in_no_policy).
            faults.note(("issuers", name), "an issuer other than this broker, which does not vouch for callers", url)
        if url in seen:
            faults.note(("issuers", name), f"an issuer's URL once ({seen[url]} has it)", url)
        else:
            seen[url] = name


def _preset(entry: IssuerEntry, rules: InstallationRules) -> Preset | Faulty:
    if entry.preset is ABSENT:
        return GENERIC
    return FAULTY if entry.preset is FAULTY else rules.presets.get(entry.preset, FAULTY)


def _url(entry: IssuerEntry, preset: Preset | Faulty) -> str | Faulty | Absent:
    """The issuer's own URL, or its preset's."""
    if entry.url is not ABSENT:
        return entry.url
    if preset is FAULTY:
        return FAULTY
    return ABSENT if preset.url is None else preset.url


def _check_url(
    url: str | Faulty | Absent, preset: Preset | Faulty, rules: InstallationRules, path: Path, faults: Faults
) -> str | Faulty:
    forms = () if preset is FAULTY else preset.forms
    if url is ABSENT:
        faults.note(path, "a field 'url'" + (f" like {forms[0]}" if forms else ""), Description("no url"))
    elif url is FAULTY:
        return FAULTY
    elif fault := registry.url_fault(url, allow_loopback=rules.loopback_issuers):
        faults.note((*path, "url"), fault, url)
    elif not registry.fits(url, forms):
        faults.note((*path, "url"), f"a URL like {' or '.join(forms)}", url)
    else:
        return url
    return FAULTY


def _audiences(entry: IssuerEntry, preset: Preset | Faulty, path: Path, faults: Faults) -> tuple[str, ...] | Faulty:
    """The audiences that the entry has, one or a list of them, or its preset's."""
    if entry.audience is FAULTY:
        return FAULTY
    if entry.audience is not ABSENT:
        given = entry.audience if isinstance(entry.audience, list) else [entry.audience]
        sound = tuple(one for one in given if one is not FAULTY)
        return sound if len(sound) == len(given) else FAULTY
    if preset is FAULTY:
        return FAULTY
    if preset.audience is None:
        faults.note(path, "a field 'audience'", Description("no audience"))
        return FAULTY
    return (preset.audience,)


def _algorithms(entry: IssuerEntry, preset: Preset | Faulty, path: Path, faults: Faults) -> tuple[str, ...] | Faulty:
    if entry.algorithms is ABSENT:
        return FAULTY if preset is FAULTY else preset.algorithms
    names = sorted(jwk.ALGORITHMS)
    fault = f"one of {', '.join(names)}"
    return check_each(entry.algorithms, lambda name: None if name in names else fault, (*path, "algorithms"), faults)


def _lifetime(entry: IssuerEntry, preset: Preset | Faulty, path: Path, faults: Faults) -> int | Faulty:
    if entry.max_lifetime is ABSENT:
        return FAULTY if preset is FAULTY else preset.max_lifetime
    return check_duration(entry.max_lifetime, LIFETIMES, (*path, "max_lifetime"), faults)


def _jwks(
    entry: IssuerEntry, preset: Preset | Faulty, path: Path, faults: Faults
) -> Mapping[str, Any] | Faulty | Absent:
    if entry.jwks is FAULTY:
        return FAULTY
    if entry.jwks is not ABSENT:
        uses = (jwk.SIGNING_USE, *(() if preset is FAULTY else preset.key_uses))
        fault = _jwks_fault(entry.jwks, _named_algorithms(entry, preset), uses)
        if fault is None:
            return entry.jwks
        faults.note((*path, "jwks"), *fault)
        return FAULTY
    url = _url(entry, preset)
    if isinstance(url, str) and url.startswith(jws.SPIFFE):
        faults.note(path, "a field 'jwks': a trust domain has no discovery", Description("no jwks"))
        return FAULTY
    return ABSENT


def _named_algorithms(entry: IssuerEntry, preset: Preset | Faulty) -> tuple[str, ...]:
    """Those algorithms that could be read, whether or not there are such."""
    if entry.algorithms is ABSENT:
        return () if preset is FAULTY else preset.algorithms
    return tuple(name for name in entry.algorithms or () if name is not FAULTY)


def _jwks_fault(
    jwks: Mapping[str, Any], algorithms: tuple[str, ...], uses: tuple[str, ...]
) -> tuple[str, Description] | None:
    """What a JWKS must be, and what this one is; None if it is good."""
    members = jwks.get("keys")
    if isinstance(members, list) and any(isinstance(one, dict) and {"d", "k"} & one.keys() for one in members):
        return "a JWKS of public keys", Description("a private or shared key: replace it, it has been exposed")
    try:
        usable = jwk.key_set(jwks, algorithms, uses)
    except InvalidTokenError as invalid:
        return "a JWKS of public keys, each kid once", Description(invalid.reason)
    if not usable and algorithms:
        return f"a JWKS with a key for {', '.join(algorithms)}", Description("none")
    return None
