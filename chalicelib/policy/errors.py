"""The refusals of a caller whom the policy grants nothing, or not all that was asked for."""

from __future__ import annotations

from chalicelib.errors import Refusal


class NoGrant(Refusal, reason="no_grant", error="invalid_target", status=400):
    """No grant admits the caller for this key; the text names the nearest grant and the claim that differs."""


class SeveralGrants(Refusal, reason="several_grants", error="invalid_request", status=400):
    """Several grants admit the caller. Name one as `grant`."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"several grants match ({', '.join(names)}): name one as `grant`"[:500])


class ScopeBeyondGrant(Refusal, reason="scope_beyond_grant", error="invalid_scope", status=400):
    """The scope asked for is beyond the grant. Ask for less."""

    def __init__(self, beyond: list[str]) -> None:
        super().__init__(f"beyond the grant: {' '.join(beyond)}"[:300])


class PolicyChanged(Refusal, reason="policy_changed", error="policy_changed", status=412):
    """Another version of the policy is in force by now. Look at it and plan again."""

    def __init__(self, expected: int, version: int) -> None:
        super().__init__(f"version {version} is in force, not {expected}; look at it and plan again")
