"""What of a call may be billed at another price than its model's usual one, for grants that limit money."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_USUAL: Mapping[str, Collection[object]] = {
    "service_tier": ("auto", "default", "flex", "standard", "standard_only"),
    "speed": ("standard",),
    "inference_geo": ("global",),
    "audio": (),
    "provider": (),
    "service_tier_override": (),
}
"""By member at the top of a body, the values that cost no more than usual; none at all of some."""
_MODALITIES = frozenset({"modalities", "responsemodalities"})


def part(body: Mapping[str, object]) -> str:
    """Return the name of such a part of a body, "" if it has none."""
    config = next((one for name, one in body.items() if _plain(name) == "generationconfig"), None)
    members = [*body.items(), *(config.items() if isinstance(config, dict) else ())]
    return next((name for name, value in members if value is not None and _is_dearer(name, value)), "")


def _is_dearer(name: str, value: object) -> bool:
    if _plain(name) in _MODALITIES:
        return not (isinstance(value, list) and all(isinstance(one, str) and one.lower() == "text" for one in value))
    usual = next((values for known, values in _USUAL.items() if _plain(known) == _plain(name)), None)
    return usual is not None and not (isinstance(value, str) and value in usual)


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")
