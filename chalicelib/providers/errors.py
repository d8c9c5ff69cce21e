"""The refusals of a path, and of a provider's key."""

from __future__ import annotations

from chalicelib.errors import OperatorNeeded, Refusal, Unavailable


class PathAmbiguous(
    Refusal,
    reason="path_ambiguous",
    error="invalid_request",
    status=400,
    text="the path has more than one reading; send a plain one",
):
    """The path could be read in more than one way. Send a plain one."""


class NoKey(
    Refusal,
    reason="no_key",
    error="not_found",
    status=404,
    text="the path is /<key>/<the provider's own path>; use the base_url that came with the token",
):
    """The path does not begin with a key's name. Use the `base_url` that came with the token."""


class ProviderKeyNotSet(OperatorNeeded, reason="provider_key_version"):
    """The key has no value yet. An administrator has to set it."""


class ProviderKeyUnavailable(Unavailable, reason="provider_key_unavailable"):
    """The key's value cannot be read in time. Retry."""


class ProviderKeyExpired(
    Unavailable,
    reason="provider_key_expired",
    text="the credential at the provider has expired and there is no new one yet; try again, or ask the broker's operator",
):
    """The federated key's credential has ended, and no new one could be had yet; `keys list` says why. Retry."""


class ProviderKeyNotMinted(
    Unavailable,
    reason="provider_key_not_minted",
    text="there is no credential at the provider yet; try again, or ask the broker's operator",
):
    """The federated key has no credential yet: the first one is minted within a minute, or `keys list` says why not. Retry."""


class KeyFederated(
    Refusal,
    reason="key_federated",
    error="key_federated",
    status=409,
    text="the policy has this key federated: its credentials are minted, and none is set, replaced or gone back to by hand",
):
    """The key is federated, so nothing of it is set by hand. Take `federated` out of the policy first."""


class KeyNotFederated(
    Refusal,
    reason="key_not_federated",
    error="key_not_federated",
    status=409,
    text="the policy does not have this key federated, so nothing is minted for it",
):
    """The key has a value that is set by hand. Add `federated` to it in the policy."""


class MintDenied(Refusal, reason="mint_denied", error="mint_denied", status=422):
    """The provider does not give this installation a credential. Compare its rule with `keybroker federation setup`."""

    def __init__(self, why: str = "") -> None:
        super().__init__(f"{why}: compare its rule with what setup prints")


class MintUnready(Refusal, reason="mint_unready", error="mint_unready", status=422):
    """This installation lacks what it proves itself to the provider with; the text says what. Mend that first."""


class MintAway(Unavailable, reason="mint_away"):
    """The provider did not answer with a credential, or something of ours was out of reach; the text says which. Retry."""

    def __init__(self, why: str = "") -> None:
        super().__init__(f"{why}; try again")


class ProviderKeysUnwritable(Unavailable, reason="provider_keys_unwritable"):
    """The key's value could not be stored, and nothing has changed. Send it again."""


class KeyChanged(
    Refusal,
    reason="key_changed",
    error="key_changed",
    status=409,
    text="another version of this key is in force by now, and nothing was changed; look at it, and send yours again",
):
    """The key was set, replaced or rolled back meanwhile. Look at it, and send yours again."""


class ProviderKeyHeaderFixed(OperatorNeeded, reason="provider_key_header"):
    """The key's header is one that CloudFront sets, so a caller's cannot be taken off. Set the key with another header."""


class KeyRefused(Refusal, reason="key_refused", error="key_refused", status=422):
    """The provider does not accept the value that was to be set. Nothing was changed: send the right one."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the provider does not accept this value ({why}), and nothing was changed")


class KeyUnproved(Unavailable, reason="key_unproved"):
    """The provider did not say whether the value works, and nothing was changed. Retry, or set it without a probe."""

    def __init__(self, why: str = "") -> None:
        text = f"the provider did not say whether this value works ({why}), and nothing was changed"
        super().__init__(f"{text}; try again, or set it without a probe")


class NoSuchKey(Refusal, reason="no_such_key", error="not_found", status=404, text="the policy names no such key"):
    """The policy names no such key. Add it to the policy first."""

    def __init__(self, name: str = "") -> None:
        super().__init__(f"the policy names no key {name[:100]!r}" if name else "")
