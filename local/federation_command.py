"""`python -m local state app-key` and `rotate-federation`: the keys that prove an installation to providers."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chalicelib.federation.assertion import AHEAD_SECONDS
from chalicelib.providers.federated import FEDERATED
from local import secret_file
from local.federation_key_file import FederationKeyFile
from local.machine import Machine


def add_to(verbs: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the commands to those of `state`."""
    app_key = verbs.add_parser("app-key", help="keep the private key of a GitHub App, with which its tokens are minted")
    app_key.add_argument("file", type=Path, metavar="FILE", help="the key as GitHub made it (PEM, mode 0600)")
    app_key.add_argument("--client", required=True, metavar="ID", help="the App's client id, as the policy has it")
    rotate = verbs.add_parser(
        "rotate-federation", help="make new keys for the issuer /federation; they sign once providers can know them"
    )
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
    now = int(time.time())
    published = _keys(options).rotate(now)
    shown = [{"kid": one.kid, "algorithm": one.algorithm, "made": one.made} for one in published]
    return {"published": shown, "sign_from": now + AHEAD_SECONDS}


def _keys(options: argparse.Namespace) -> FederationKeyFile:
    return FederationKeyFile(Machine.open(options.state).directory / "federation-keys.json")


VERBS: Mapping[str, Callable[[argparse.Namespace], object]] = {"app-key": _app_key, "rotate-federation": _rotate}
