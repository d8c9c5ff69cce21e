"""`python -m local state app-key` and `rotate-federation`: the keys that prove an installation to providers."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from chalicelib.federation.assertion import AHEAD_SECONDS
from chalicelib.policy.compile import seconds
from chalicelib.providers.federated import FEDERATED
from local import secret_file
from local.federation_key_file import FederationKeyFile
from local.machine import Machine

_LONGEST_AHEAD: Final = 7 * 86_400


def add_to(verbs: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the commands to those of `state`."""
    app_key = verbs.add_parser("app-key", help="keep the private key of a GitHub App, with which its tokens are minted")
    app_key.add_argument("file", type=Path, metavar="FILE", help="the key as GitHub made it (PEM, mode 0600)")
    app_key.add_argument("--client", required=True, metavar="ID", help="the App's client id, as the policy has it")
    rotate = verbs.add_parser(
        "rotate-federation", help="make new keys for the issuer /federation; they sign once providers can know them"
    )
    how = rotate.add_mutually_exclusive_group()
    text = "how long they are published before they sign, 20m to 7d: where a provider was given the key set by hand (default: 20m)"
    how.add_argument("--sign-after", type=_ahead, default=AHEAD_SECONDS, metavar="DURATION", help=text)
    text = "the file leaked: drop the keys in it, and sign with the new ones at once"
    how.add_argument("--leaked", action="store_true", help=text)
    for verb in (app_key, rotate):
        verb.add_argument("--state", type=Path, required=True, metavar="DIR")


def _app_key(options: argparse.Namespace) -> object:
    if not re.fullmatch(FEDERATED["github-app"].required["client"], options.client):
        raise ValueError("--client must be the App's client id: letters, digits and dots")
    try:
        _keys(options).set_app_key(options.client, secret_file.read(options.file))
    except (TypeError, ValueError):
        # SECURITY: no cause, which may quote the key (test_what_is_no_key_is_not_quoted).
        raise ValueError(f"{options.file} is no RSA private key without a passphrase") from None
    return {"client": options.client, "kept": True}


def _rotate(options: argparse.Namespace) -> object:
    now, keys = int(time.time()), _keys(options)
    published = keys.replace(now) if options.leaked else keys.rotate(now, options.sign_after)
    for text in _left_to_do(keys.apps()) if options.leaked else ():
        print(f"warning: {text}", file=sys.stderr)
    shown = [{"kid": one.kid, "algorithm": one.algorithm, "made": one.made, "signs": one.signs} for one in published]
    return {"published": shown, "sign_from": max(one.signs for one in published)}


def _left_to_do(apps: Sequence[str]) -> Iterator[str]:
    """Yield what new keys alone do not end. apps: whose keys were in the same file."""
    yield "providers that keep the old key set trust the stolen keys until they look again, up to 15 minutes"
    yield "where a provider was given the key set by hand, give it the new one now (keybroker federation setup): it trusts the old one"
    yield "what was minted with the stolen keys goes on until it ends; so does a backup's copy of them: delete older backups"
    for app in apps:
        yield f"the key of the App {app} was in the same file: make another at GitHub, delete that one, and state app-key"


def _ahead(text: str) -> int:
    """Return a duration as seconds."""
    if re.fullmatch(r"[1-9][0-9]{0,5}[smhd]", text) and AHEAD_SECONDS <= seconds(text) <= _LONGEST_AHEAD:
        return seconds(text)
    raise argparse.ArgumentTypeError(f"must be 20m to 7d, not {text!r}: providers keep a key set for up to 15 minutes")


def _keys(options: argparse.Namespace) -> FederationKeyFile:
    return FederationKeyFile(Machine.open(options.state).directory / "federation-keys.json")


VERBS: Mapping[str, Callable[[argparse.Namespace], object]] = {"app-key": _app_key, "rotate-federation": _rotate}
