"""How a key of the policy file is federated: which ids of the provider's it has, and who vouches for this installation there."""

from __future__ import annotations

from chalicelib.policy.compile_issuer import InstallationRules
from chalicelib.policy.faults import ABSENT, FAULTY, Absent, Description, Faulty, Path
from chalicelib.policy.reader import Faults
from chalicelib.policy.schema import KeyEntry
from chalicelib.providers.federated import FEDERATED, Federated


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
    return known if _is_shown(kind, known, path, faults) else FAULTY


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
