"""The refusals of rotations."""

from __future__ import annotations

from chalicelib.errors import Refusal


class NoManagement(
    Refusal,
    reason="no_management",
    error="no_management",
    status=409,
    text="no account is set with which this key can be replaced at its provider: set one, or replace the key by hand",
):
    """The key cannot be replaced by its provider's API. Set a management key, or set a new value by hand."""


class ManagementNotSupported(
    Refusal,
    reason="management_not_supported",
    error="management_not_supported",
    status=422,
    text="this provider has no API here that makes keys: replace its keys by hand",
):
    """Keys of this provider can only be replaced by hand."""


class ManagementRefused(Refusal, reason="management_refused", error="management_refused", status=422):
    """The provider does not let this management key list its keys. Nothing was changed: send the right one."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the provider does not let this key list the account's keys ({why}), and nothing was changed")


class RotationBusy(
    Refusal,
    reason="rotation_busy",
    error="rotation_busy",
    status=409,
    retryable=True,
    text="someone is at work on this key's rotation at this moment: look again in a minute and a half",
):
    """Another attempt is under way, or was cut off within the last 90 seconds. Retry."""


class NoRotation(
    Refusal, reason="no_rotation", error="no_rotation", status=409, text="no rotation of this key is under way"
):
    """There is nothing to end."""


class RotationInForce(
    Refusal,
    reason="rotation_in_force",
    error="rotation_in_force",
    status=409,
    text="the new key is in force already: go back to the one before it with a rollback",
):
    """The new key is in force. Roll back instead."""


class NoVersionBefore(
    Refusal,
    reason="no_version_before",
    error="no_version_before",
    status=409,
    text="there is no value to go back to: none was replaced, or the one before has been deleted",
):
    """There is nothing to roll back to. Set a value, or rotate again."""
