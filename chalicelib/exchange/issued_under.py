"""What a token was issued under, as its event keeps it: so it can be told later whether an edge would still admit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from chalicelib.audit import Event
from chalicelib.revocation import EPOCHS, RevocationState


class IssuedUnder(NamedTuple):
    """The signing key and the epochs that a token states."""

    kid: str
    epochs: Mapping[str, int]
    """By scope of EPOCHS."""


def noted(event: Event, kid: str, states: Mapping[str, RevocationState]) -> Event:
    """Return the event of an issuance with the key that signs the token, and the epochs of these states, by scope."""
    epochs = " ".join(str(states[scope].epoch) for scope in EPOCHS)
    return replace(event, detail={**event.detail, "kid": kid, "epochs": epochs})


def read(event: Event) -> IssuedUnder | None:
    """Return what an event says; None for one of a version that did not say it."""
    kid, numbers = event.detail.get("kid", ""), event.detail.get("epochs", "").split()
    if not kid or len(numbers) != len(EPOCHS):
        return None
    return IssuedUnder(kid, dict(zip(EPOCHS, map(int, numbers), strict=True)))
