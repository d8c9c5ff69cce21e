"""How a key of the policy file is federated: which ids of the provider's it has, and who vouches for this installation there."""

from __future__ import annotations

from chalicelib.policy.compile_issuer import InstallationRules
from chalicelib.policy.faults import ABSENT, FAULTY, Absent, Description, Faulty, Path
from chalicelib.policy.reader import Faults
from chalicelib.policy.schema import KeyEntry
from chalicelib.providers.federated import AWS_STS, BROKER, FEDERATED, Federated


def compile_federated(name: str, entry: KeyEntry, rules: InstallationRules, faults: Faults) -> dict[str, str] | Faulty:
    """Return the ids of a federated key, with the identity that it is shown under; FAULTY if anything of it is."""
    path, given = ("keys", name, "federated"), entry.federated
    if entry.provider is FAULTY or given is FAULTY or isinstance(given, Absent):
        return FAULTY
    kind = FEDERATED.get(entry.provider)
    if kind is None:
        text = f"no such field: of the providers, {', '.join(FEDERATED)} can be federated"
        faults.note(path, text, Description(entry.provider))
        return FAULTY
    if entry.rotate_after is not ABSENT:
        faults.note(
            ("keys", name, "rotate_after"),
            "no such field beside `federated`, which renews by itself",
            entry.rotate_after,
        )
    ids = {**({"identity": rules.identity} if kind.algorithms else {}), **given}
    sound = [_is_sound(kind, field, value, (*path, field), faults) for field, value in ids.items()]
    for missing in kind.required.keys() - ids.keys():
        faults.note(path, f"a field {missing!r}", Description("none"))
    if not all(sound) or kind.required.keys() - ids.keys():
        return FAULTY
    known = {field: str(value) for field, value in ids.items()}
    fits = _is_shown(kind, known, path, faults) and (
        known.get("identity") != BROKER or _takes_our_issuer(kind, name, rules, faults)
    )
    return known if fits else FAULTY


def _is_sound(kind: Federated, field: str, value: str | Faulty, path: Path, faults: Faults) -> bool:
    if value is FAULTY:
        return False
    fault = kind.fault(field, value)
    if fault:
        faults.note(path, fault, value)
    return not fault


def _is_shown(kind: Federated, ids: dict[str, str], path: Path, faults: Faults) -> bool:
    """Whether the provider takes any algorithm that this identity signs with."""
    if kind.algorithms and kind.algorithm(ids["identity"]) is None:
        faults.note((*path, "identity"), f"one that signs with {' or '.join(kind.algorithms)}", ids["identity"])
        return False
    return True


def _takes_our_issuer(kind: Federated, name: str, rules: InstallationRules, faults: Faults) -> bool:
    """Whether the provider can know our own issuer, and takes the subject that a key of this name has there."""
    path, subject = ("keys", name, "federated", "identity"), f"{rules.subjects}{name}"
    if kind.public_issuer and not rules.issuer_is_public:
        text = f"{AWS_STS}, or a broker with an https:// URL on the internet, over which alone this provider reads its keys"
        faults.note(path, text, BROKER)
        return False
    if rules.subjects and kind.longest_subject is not None and len(subject) > kind.longest_subject:
        text = f"a shorter name of the key: the provider takes a subject of at most {kind.longest_subject} characters"
        faults.note(path, text, Description(f"{len(subject)} ({rules.subjects}…)"))
        return False
    return True
