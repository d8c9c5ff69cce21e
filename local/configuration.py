"""What a server is told: its configuration file (keybroker.toml, beside the policy), or the options of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from chalicelib.policy.faults import Description, Fault, fault_at
from local import configuration_stage, toml_lines
from local import configuration_values as values
from local.addresses import Listen
from local.configuration_stage import StageTables
from local.toml_lines import Document

_SIZE_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Door:
    """Where a door listens, and the URL that callers have for it; None: follows from where it listens."""

    listen: Listen
    public_url: str | None = None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate with its chain and its private key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Practice:
    """The practice parts. provider, issuer: where they listen. ttl: seconds that tokens live; None: as the grants say."""

    provider: Listen
    issuer: Listen
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that a server is told. Paths are absolute, or as they were given on the command line."""

    broker: Door
    """The token endpoint."""
    edge: Door
    """Calls with tokens."""
    administration: Door | None = None
    """`/admin`; None: at the broker's address."""
    state: Path | None = None
    """The state directory; None: a temporary one."""
    policy: Path | None = None
    """The first policy's file; None: the policy in force, or else the practice policy."""
    prices: Path | None = None
    """What models cost (docs/grants.md); None: the prices that come along."""
    tls: TlsFiles | None = None
    """For every door that listens at an IP address; None: plain HTTP."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """The addresses whose X-Forwarded-For, -Proto and -Host are believed."""
    trusted_hops: int | None = None
    """How many of them stand one behind another; None: any number."""
    workers: int = 1
    """Processes that serve broker, edge and administration."""
    provider_timeout: int | None = None
    """Seconds that a provider may be silent before its answer and within it; None: any, or 120 with the practice parts."""
    drain_seconds: int = 3
    """Seconds that running calls have to finish when the server stops."""
    log_level: str = "info"
    """One of LOG_LEVELS."""
    revocation_probe: int = 300
    """Seconds from one measurement of how long a revocation takes to the next; 0: none."""
    metrics: Listen | None = None
    """Where `/metrics` is answered; None: nowhere."""
    keep_records: int | None = None
    """Days that events, replaced policies and ended revocations are kept; None: for good."""
    tables: StageTables | None = None
    """The tables of a deployed stage, in place of a state directory."""
    practice: Practice | None = None
    """The practice parts; None: real keys and real providers."""
    apply: bool = False
    """Put the policy file in force over another policy; a word of one start, never in the file."""
    set_keys: bool = False
    """Put the keys of the environment in force over others; a word of one start, never in the file."""

    def places(self) -> dict[str, Listen]:
        """Return where each part listens, by name."""
        found = {"broker": self.broker.listen, "edge": self.edge.listen}
        if self.practice:
            found |= {"provider": self.practice.provider, "issuer": self.practice.issuer}
        found |= {"metrics": self.metrics} if self.metrics else {}
        return found | ({"administration": self.administration.listen} if self.administration else {})


class InvalidConfigurationError(Exception):
    """A configuration file with faults. `faults` has all of them, by line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.field)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


_READERS: Mapping[str, Callable[[object, Path], Any]] = {
    "policy": values.path,
    "prices": values.path,
    "workers": values.whole_number(1, 64),
    "log_level": values.one_of(*values.LOG_LEVELS),
    "trusted_proxies": values.networks,
    "trusted_hops": values.whole_number(1, 16),
    "metrics": values.address,
    "metrics_beyond_loopback": values.yes_or_no,
    "broker.listen": values.address,
    "broker.public_url": values.public_url,
    "edge.listen": values.address,
    "edge.public_url": values.public_url,
    "administration.listen": values.address_or_socket,
    "administration.public_url": values.public_url,
    "administration.beyond_loopback": values.yes_or_no,
    "tls.certificate": values.path,
    "tls.key": values.path,
    "state.directory": values.path,
    "state.keep_records_days": values.whole_number(7, 36500),
    "state.revocation_probe_seconds": values.pause,
    "timeouts.provider_seconds": values.whole_number(1, 3600),
    "timeouts.drain_seconds": values.whole_number(1, 3600),
    "timeouts.drain_delay_seconds": values.whole_number(0, 120),
    "timeouts.keep_alive_seconds": values.whole_number(5, 7200),
    "tables.region": values.region,
    "tables.stage": values.stage,
    "tables.issuer": values.stage_url,
    "tables.edge_url": values.stage_url,
    "tables.signing_key": values.kms_keys,
    "tables.secrets_region": values.region,
}
"""What reads each field; takes the directory that relative paths start from, and raises ValueError with what is allowed."""
FIELDS = tuple(_READERS)
"""The names of all fields."""
_TABLES = {name.partition(".")[0] for name in _READERS if "." in name}
_TOP = {name for name in _READERS if "." not in name}
_BEYOND = "administration.beyond_loopback"
_METRICS_BEYOND = "metrics_beyond_loopback"
_ENCRYPTED = "a loopback address, or any with [tls], or with trusted_proxies that take TLS off in front of it"
_DEFAULT_LISTEN = {"broker": "127.0.0.1:8080", "edge": "127.0.0.1:8081", "administration": "127.0.0.1:8082"}


def read(path: Path) -> Configuration:
    """Read a configuration file; raises InvalidConfigurationError with every fault and its line, or OSError."""
    with path.open("rb") as file:
        raw = file.read(_SIZE_LIMIT + 1)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InvalidConfigurationError([_whole(path, line, "bytes that are not UTF-8", "UTF-8")]) from None
    if len(raw) > _SIZE_LIMIT:
        raise InvalidConfigurationError([_whole(path, 1, f"over {_SIZE_LIMIT} bytes", "less")])
    return _Reader(path, toml_lines.parse(text)).configuration()


def _whole(path: Path, line: int, found: str, allowed: str) -> Fault:
    return fault_at(str(path), line, (), allowed, Description(found))


class _Reader:
    """One file, while it is read."""

    def __init__(self, path: Path, document: Document) -> None:
        self._path = path
        self._document = document
        self._faults = [_whole(path, line, what, "TOML 1.0") for line, what in document.faults]
        self._read: dict[str, Any] = {}

    def configuration(self) -> Configuration:
        """Return what the file says; raises InvalidConfigurationError."""
        for name, value in self._document.values.items():
            if isinstance(value, dict) and name in _TABLES:
                for inner, one in value.items():
                    self._field(f"{name}.{inner}", one)
            else:
                self._field(name, value)
        got, tables = self._read.get, configuration_stage.read(self._read.get, self._document.values)
        found = Configuration(
            broker=self._door("broker"),
            edge=self._door("edge"),
            administration=None if tables else self._door("administration"),
            state=got("state.directory"),
            policy=got("policy"),
            prices=got("prices"),
            tls=self._tls(),
            trusted_proxies=got("trusted_proxies", ()),
            trusted_hops=got("trusted_hops"),
            workers=got("workers", 1),
            provider_timeout=got("timeouts.provider_seconds"),
            drain_seconds=got("timeouts.drain_seconds", 100 if tables else 3),
            log_level=got("log_level", "info"),
            revocation_probe=got("state.revocation_probe_seconds", 0 if tables else 300),
            metrics=got("metrics"),
            keep_records=got("state.keep_records_days"),
            tables=tables,
        )
        if not self._document.faults:  # of a line that is left out, nothing is known
            self._check_what_is_needed()
            named = {"broker": found.broker, "edge": found.edge, "administration": found.administration}
            opened = tables.doors if tables else named
            doors = {name: door for name, door in named.items() if door and name in opened}
            self._check_addresses(doors)
            self._check_metrics(found.metrics, doors)
        if self._faults:
            raise InvalidConfigurationError(self._faults)
        return found

    def _field(self, name: str, value: object) -> None:
        if name in _READERS:
            try:
                self._read[name] = _READERS[name](value, self._path.absolute().parent)
            except ValueError as error:
                self._fault(name, value, str(error))
        elif name in _TABLES:
            self._fault(name, value, f"a table [{name}]")
        else:
            table = f"{name.partition('.')[0]}." if "." in name else ""
            known = [one for one in _READERS if one.startswith(table)] if table else sorted({*_TABLES, *_TOP})
            allowed = difflib.get_close_matches(name, known, 1) or known
            self._fault(name, Description("an unknown name"), ", ".join(allowed))

    def _door(self, name: str) -> Door:
        listen = self._read.get(f"{name}.listen") or values.address(_DEFAULT_LISTEN[name], self._path)
        return Door(listen, self._read.get(f"{name}.public_url"))

    def _tls(self) -> TlsFiles | None:
        certificate, key = self._read.get("tls.certificate"), self._read.get("tls.key")
        return TlsFiles(certificate, key) if certificate and key else None

    def _check_what_is_needed(self) -> None:
        for name, what, allowed in configuration_stage.faults(self._says, self._read.get, self._document.values):
            self._fault(name, Description(what), allowed)
        if not (self._is_of_a_stage or self._says("state.directory")):
            self._fault("state.directory", Description("nothing"), "a path, relative to this file")
        for one, other in (("certificate", "key"), ("key", "certificate")):
            if self._says(f"tls.{one}") and not self._says(f"tls.{other}"):
                self._fault(f"tls.{other}", Description("nothing"), "certificate and key, both PEM files, together")

    def _check_addresses(self, doors: Mapping[str, Door]) -> None:
        # SECURITY: tokens cross no network in the clear (test_plain_http_stays_on_this_machine).
        plain = not (self._says("tls.certificate") or self._says("trusted_proxies"))
        first: dict[str, str] = {}
        for name, door in doors.items():
            field, at = f"{name}.listen", str(door.listen)
            if plain and not door.listen.is_loopback:
                self._fault(field, at, _ENCRYPTED)
            # SECURITY: administration is on no network unless that is said (test_administration_stays_on_loopback).
            elif name == "administration" and not (door.listen.is_loopback or self._says(_BEYOND)):
                self._fault(field, at, f"a loopback address or unix:PATH, or any with {_BEYOND} = true")
            if not (door.listen.is_url or self._is_of_a_stage or self._says(f"{name}.public_url")):
                why = f"the URL that callers use, since {at} is every address of this machine, or IPv6"
                self._fault(f"{name}.public_url", Description("nothing"), why)
            if first.setdefault(at, name) != name and (door.listen.port or door.listen.path):
                self._fault(field, at, f"an address of its own: {first[at]}.listen is the same")

    def _check_metrics(self, listen: Listen | None, doors: Mapping[str, Door]) -> None:
        # SECURITY: the numbers are on no network unless that is said (test_metrics_stay_on_loopback).
        if listen and not (listen.is_loopback or self._says(_METRICS_BEYOND)):
            self._fault("metrics", str(listen), f"a loopback address, or any with {_METRICS_BEYOND} = true")
        for name, door in doors.items():
            if listen and listen.port and str(listen) == str(door.listen):
                self._fault("metrics", str(listen), f"an address of its own: {name}.listen is the same")

    @property
    def _is_of_a_stage(self) -> bool:
        return configuration_stage.is_of_a_stage(self._document.values)

    def _says(self, name: str) -> bool:
        """Whether the file says anything of a field but false, faulty or not."""
        table, _, inner = name.rpartition(".")
        within = self._document.values.get(table, {}) if table else self._document.values
        return isinstance(within, dict) and within.get(inner) not in (None, False, [])

    def _fault(self, name: str, found: object, allowed: str) -> None:
        path, lines = tuple(name.split(".")), self._document.lines
        line = next((lines[path[:size]] for size in (len(path), 1) if path[:size] in lines), 1)
        self._faults.append(fault_at(str(self._path), line, path, allowed, found))
