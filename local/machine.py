"""Keybroker on one machine: its state directory, and the doors' ports over it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import edge
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import Event
from chalicelib.edge.admission import Edge
from chalicelib.edge.billing import Kept
from chalicelib.errors import Unavailable
from chalicelib.exchange.exchange import Broker
from chalicelib.federation import reach
from chalicelib.federation.minter import Minter
from chalicelib.http.ports import PublicPorts
from chalicelib.issuers.jwks import Jwks, get_json
from chalicelib.issuers.presets import GENERIC, PRESETS
from chalicelib.policy import compile as policy
from chalicelib.policy.compile import InstallationRules
from chalicelib.providers.prices import NO_PRICES, Prices
from local import administration, minting, restoring, secret_file, state_directory
from local import revocation_probe as probe
from local.administrators import Administrators
from local.errors import NoStateDirectory, RestoreInterrupted
from local.practice import policy as practice
from local.provider_key_file import ProviderKeyFile
from local.provider_keys import LocalProviderKeys
from local.revocation_probe import RevocationProbing
from local.signing_key_file import SigningKeyFile
from local.simulator.callers import Callers
from local.sqlite.answer_usage import SqliteAnswerUsage
from local.sqlite.budgets import SqliteBudgets
from local.sqlite.control import SqliteControl
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.ledger import SqliteLedger
from local.sqlite.maintenance import Upkeep
from local.sqlite.running_state import SqliteRunningState
from local.sqlite.state_file import StateFile
from local.sqlite.usage import SqliteUsage
from local.start import Start, first_policy
from local.urls import Urls

_IDENTITIES = frozenset(preset.identity for preset in (*PRESETS.values(), GENERIC))


class Machine:
    """A state directory, set up by `prepare`, and the ports over it."""

    def __init__(
        self,
        directory: Path,
        urls: Urls,
        practice_ttl: int | None = None,
        state: tuple[int, int] | None = None,
    ) -> None:
        """state: device and inode of the one state file to use; None: of the one that is there at its first use."""
        self.directory = directory
        named = (urls.broker, urls.administration or urls.broker)
        self.callers = Callers(directory, *named, practising=urls.provider is not None)
        self._urls = urls
        self._practice_ttl = practice_ttl
        self._state_identity = state

    @classmethod
    def open(cls, directory: Path) -> Machine:
        """Return the machine with this state directory, for a command beside its server.

        Raises NoStateDirectory unless it was set up before; StateOfAnotherUser.
        """
        try:
            urls = Urls(**json.loads((directory / "urls.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise NoStateDirectory(hint=str(error)) from error
        state_directory.check_owner(directory)
        return cls(directory, urls)

    def prepare(
        self,
        policy_file: Path | None,
        values: Mapping[str, str],
        *,
        apply: bool = False,
        set_keys: bool = False,
        alone: bool = False,
    ) -> None:
        """Create what is missing in the directory. What is in force stays.

        policy_file: the first policy; None: the practice policy. values: by provider, the made-up keys while the practice
        parts run; else empty. apply: put the file in force over another policy. set_keys: put the keys of the environment
        in force over others. alone: hold the directory until this process ends.
        Raises InvalidPolicyError; Unavailable if a file is no use or open to others, if the state file is gone while its
        signing key is not, or if another process holds the directory.
        """
        practising = self._urls.provider is not None
        if not any(map(Path.exists, map(self._path, ("state.db", "signing-key.pem", "restoring")))):
            policy.parse(*first_policy(policy_file, practising=practising), self.rules())  # before anything is made
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if alone:
            state_directory.hold(self.directory)
        self._check_directory()
        StateFile.create(self._path("state.db"))
        self._check_keys()
        self._say_lost_key()
        keys = SigningKeyFile.create(self._path("signing-key.pem"))
        self.callers.create()
        secret_file.write(self._path("urls.json"), json.dumps(asdict(self._urls)))
        control, file = self.control(), self._provider_key_file()
        start = Start(control, self.ledger(), file, self.event, self.rules(), practising)
        parsed = start.policy(policy_file, apply=apply)
        start.signing_keys(keys)
        if (origin := self._urls.practice_origin()) is not None:
            start.practice_keys(parsed, practice.provider_keys(parsed.keys, origin, values))
        else:
            start.keys(parsed, os.environ, set_keys=set_keys)
        start.tidy_keys(parsed)

    def _say_lost_key(self) -> None:
        if self.control().current().version and not self._path("signing-key.pem").exists():
            text = "signing-key.pem is missing beside a state: a new one is made, and all tokens end"
            logging.getLogger("keybroker").warning(text)

    def state_identity(self) -> tuple[int, int]:
        """Return device and inode of the state file that is there now."""
        status = self._path("state.db").stat()
        return status.st_dev, status.st_ino

    def check(self) -> None:
        """Read every file that `prepare` would use, and change nothing; raises Unavailable."""
        self._check_directory()
        self._check_keys()
        SigningKeyFile(self._path("signing-key.pem"))
        self._provider_key_file().check()
        for one in self.administrators().all():
            if isinstance(one, Unavailable):
                raise one

    def keys_not_set(self) -> tuple[str, ...]:
        """Return the names of those keys of the policy in force that have no value here; raises InvalidPolicyError."""
        control = self.control()
        parsed = policy.parse(control.current().text, "the policy in force", self.rules())
        found = {name: control.key_info(name) for name in parsed.keys}
        lost = self.keys_lost()
        unset = (name for name, info in found.items() if info is None or info.current is None or name in lost)
        return tuple(name for name in unset if name not in parsed.federated)

    def keys_lost(self) -> tuple[str, ...]:
        """Return the names of keys of which a value is in force, and not here; raises Unavailable."""
        known = (one for one in self.control().known_keys() if one.federated is None)
        return self._provider_key_file().lacks({one.name: one.current.version for one in known if one.current})

    def administrators(self) -> Administrators:
        """Return who may administer."""
        return self.callers.administrators

    def rules(self) -> InstallationRules:
        """Return the rules of this installation's policy language."""
        known = reach.rules_of(practice.rules(self._urls.issuer), self._urls.broker)
        # Practice providers are on this machine, too, and read its issuer's keys there.
        return known if self._urls.provider is None else replace(known, issuer_is_public=True)

    def control(self) -> SqliteControl:
        """Return the state that administrators write."""
        return SqliteControl(self._state())

    def ledger(self) -> SqliteLedger:
        """Return the state of exchanges, and the audit."""
        return SqliteLedger(self._state())

    def state_file(self) -> StateFile:
        """Return the state file itself, for what copies or cuts it."""
        return self._state()

    def usage(self) -> SqliteUsage:
        """Return the usage counters."""
        return SqliteUsage(self._state())

    def upkeep(self, keep_days: int | None = None) -> Upkeep:
        """Return the maintenance of the state file. keep_days: how long records are kept; None: for good."""
        return Upkeep(self._state(durable=False), keep=keep_days and keep_days * 86400)

    def probing(self, own: probe.Edge, every: float) -> RevocationProbing:
        """Return what measures how long a revocation takes. own: this server's edge. every: seconds."""
        control = self.control()

        def steps(now: int) -> probe.Steps:
            return probe.Steps(own, control, SigningKeyFile(self._path("signing-key.pem")), self._urls.broker, now)

        return RevocationProbing(steps, self.probe_file(), every)

    def event(self, kind: str, detail: Mapping[str, str]) -> Event:
        """Return an audit event for a change that was made on this machine."""
        return Event(id=_new_id(), at=_clock(), kind=kind, request_id="", actor="this machine", detail=detail)

    def public_ports(self) -> PublicPorts:
        """Return the public door's ports; raises Unavailable if a file is missing."""
        state, key = self._state(), SigningKeyFile(self._path("signing-key.pem"))
        control = SqliteControl(state)
        broker = Broker(
            ledger=SqliteLedger(state),
            keys=Jwks(get_json, loopback=True),
            signer=key,
            signing_keys=key,
            url=self._urls.broker,
            edge_url=self._urls.edge,
            identities=_IDENTITIES,
            practice_ttl=self._practice_ttl,
        )
        return PublicPorts(
            broker=broker,
            revocations=control,
            usage=SqliteUsage(state),
            jwks=lambda: key.public_jwks(control.signing_key_list().live),
            federation_jwks=minting.Parts(self.directory, self._urls).jwks,
            clock=_clock,
            new_id=_new_id,
        )

    def admin_ports(self) -> AdminPorts:
        """Return the administrators' door's ports; raises Unavailable if a file is missing."""
        return administration.ports(self.directory, self._urls, self._state(), self.rules())

    def minter(self) -> Minter:
        """Return what mints the credentials of federated keys; raises Unavailable if a file is missing."""
        return minting.minter(self.directory, self._urls, self._state())

    def edge_ports(self, prices: Prices = NO_PRICES) -> edge.Ports:
        """Return the edge's ports; raises Unavailable if a file is missing."""
        # Calls are counted without waiting for the disk: a power cut may lose the last of them, `kill -9` does not.
        state = self._state(durable=False)
        signing_keys = SigningKeyFile(self._path("signing-key.pem"))
        keys = LocalProviderKeys(self._provider_key_file(), SqliteControl(state))
        kept = Kept(SqliteBudgets(state), prices)
        parts = Edge(SqliteEdgeState(state), signing_keys, keys, self._urls.broker, self._urls.edge, budgets=kept)
        return edge.Ports(parts, log=logging.getLogger("keybroker").info)

    def running_state(self) -> SqliteRunningState:
        """Return where the calls under way are looked after; raises Unavailable if the file is missing."""
        return SqliteRunningState(self._state(durable=False))

    def answer_usage(self) -> SqliteAnswerUsage:
        """Return where it is counted what answers took; raises Unavailable if the file is missing."""
        return SqliteAnswerUsage(self._state(durable=False))

    def _check_directory(self) -> None:
        state_directory.check_state_file(self.directory)
        state_directory.check_modes(self.directory)

    def _check_keys(self) -> None:
        if self._urls.provider is not None:
            state_directory.check_no_real_keys(self.directory)

    def probe_file(self) -> probe.ProbeFile:
        """Return where the last measurement of how long a revocation takes is."""
        return probe.ProbeFile(self._path("revocation-probe.json"))

    def _provider_key_file(self) -> ProviderKeyFile:
        return ProviderKeyFile(self._path("provider-keys.json"))

    def _state(self, *, durable: bool = True) -> StateFile:
        if restoring.is_unfinished(self.directory):
            raise RestoreInterrupted(
                hint=f"start the server with {self.directory}, or run the command again: either finishes it"
            )
        # SECURITY: bound at the start, not at the first use: a file that replaced it in between would be served, with our
        # write-ahead log mixed into it
        # (test_an_early_replacement_is_not_served, test_a_worker_serves_no_other_state_file).
        return StateFile(self._path("state.db"), durable=durable, identity=self._state_identity).bind()

    def _path(self, name: str) -> Path:
        return self.directory / name


def _clock() -> int:
    return int(time.time())


def _new_id() -> str:
    return secrets.token_urlsafe(16)
