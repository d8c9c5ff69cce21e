"""What the administrators' door of one machine needs."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

from chalicelib.admin.ports import AdminPorts
from chalicelib.issuers.fetch import send
from chalicelib.issuers.jwks import Jwks, get_json
from chalicelib.issuers.key_probe import HttpKeyProbe
from chalicelib.policy.compile import InstallationRules
from chalicelib.providers.origins import Origins
from chalicelib.rotation.accounts import Accounts
from local import minting
from local.provider_key_file import ProviderKeyFile
from local.provider_keys import LocalManagementKeys, LocalProviderKeys
from local.revocation_probe import ProbeFile
from local.signing_key_file import SigningKeyFile
from local.sqlite.control import SqliteControl
from local.sqlite.ledger import SqliteLedger
from local.sqlite.mint_notes import SqliteMintNotes
from local.sqlite.refused_calls import SqliteRefusedCalls
from local.sqlite.response_times import SqliteResponseTimes
from local.sqlite.state_file import StateFile
from local.sqlite.usage import SqliteUsage
from local.urls import Urls


def ports(directory: Path, urls: Urls, state: StateFile, rules: InstallationRules) -> AdminPorts:
    """Return it for a state directory; raises Unavailable if a file is missing."""
    control, file = SqliteControl(state), ProviderKeyFile(directory / "provider-keys.json")
    provider_keys, management_keys = LocalProviderKeys(file, control), LocalManagementKeys(file)
    return AdminPorts(
        issuer_keys=Jwks(get_json, loopback=True),
        revocations=control,
        audit=SqliteLedger(state),
        chain=SqliteLedger(state),
        policies=control,
        pins=control,
        usage=SqliteUsage(state),
        keys=provider_keys,
        key_store=provider_keys,
        key_probe=HttpKeyProbe(),
        management_store=management_keys,
        accounts=Accounts(management_keys, send),
        installation=urlsplit(urls.broker).netloc,
        wait=time.sleep,
        signing_key_lists=control,
        signing_key_store=SigningKeyFile(directory / "signing-key.pem"),
        revocation_probes=ProbeFile(directory / "revocation-probe.json"),
        refused_calls=SqliteRefusedCalls(state),
        response_times=SqliteResponseTimes(state),
        mint_notes=SqliteMintNotes(state),
        try_mint=minting.minter(directory, urls, state).try_once,
        federation_jwks=minting.Parts(directory, urls).made_jwks,
        broker_url=urls.broker,
        origins=Origins(urls.practice_origin()),
        rules=rules,
        clock=lambda: int(time.time()),
        new_id=lambda: secrets.token_urlsafe(16),
    )
