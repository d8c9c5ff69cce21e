"""The one table of metrics: OpenTelemetry's name of each, which Prometheus' follows from. docs/operate.md has the same table."""

from __future__ import annotations

from typing import Final, NamedTuple

KEY: Final = "keybroker.key"
"""A key of the policy; "" where nothing verified names one, OTHER for those beyond MOST_NAMES."""
STATUS: Final = "keybroker.status_class"
ERROR: Final = "error.type"
OUTCOME: Final = "keybroker.outcome"
DOOR: Final = "keybroker.door"
ROUTE: Final = "http.route"
DIRECTION: Final = "network.io.direction"
_SUFFIX: Final = {"s": "_seconds", "By": "_bytes"}
"""What Prometheus puts behind a name, by unit; nothing for those in braces, which are for people."""


class Metric(NamedTuple):
    """One metric. kind: `counter`, `histogram` or `gauge`. unit: as OpenTelemetry writes it. labels: OpenTelemetry's names."""

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    says: str

    @property
    def family(self) -> str:
        """Prometheus' name, of a counter without its `_total`."""
        return in_prometheus(self.name) + _SUFFIX.get(self.unit, "")

    @property
    def shown(self) -> str:
        """Prometheus' name as people write it in expressions; of a histogram without `_bucket`, `_sum` and `_count`."""
        return f"{self.family}_total" if self.kind == "counter" else self.family


def in_prometheus(name: str) -> str:
    """Return OpenTelemetry's name of a metric or a label as Prometheus has it."""
    return name.replace(".", "_")


CALLS: Final = Metric("keybroker.calls", "counter", "{call}", (KEY, STATUS, ERROR), "calls at the edge that have ended")
SECONDS: Final = Metric(
    "http.server.request.duration", "histogram", "s", (KEY,), "from a call's head to the end of its answer"
)
FIRST_BYTE: Final = Metric(
    "keybroker.time_to_first_byte", "histogram", "s", (KEY,), "from a call's head to the first byte of its answer"
)
IO: Final = Metric(
    "keybroker.io", "counter", "By", (KEY, DIRECTION), "bodies received, and answers transmitted with their heads"
)
INPUT: Final = Metric(
    "gen_ai.client.inference.usage.input_tokens", "counter", "{token}", (KEY,), "tokens of input, by what answers say"
)
OUTPUT: Final = Metric(
    "gen_ai.client.inference.usage.output_tokens", "counter", "{token}", (KEY,), "tokens of output, by what answers say"
)
CACHED: Final = Metric(
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "counter",
    "{token}",
    (KEY,),
    "tokens of input that came from a provider's cache",
)
UNKNOWN: Final = Metric(
    "keybroker.answers.unknown", "counter", "{answer}", (KEY,), "answers of models that did not say what they took"
)
UNDER_WAY: Final = Metric("http.server.active_requests", "gauge", "{request}", (), "calls at the edge under way")
CONNECTIONS: Final = Metric("keybroker.connections", "gauge", "{connection}", (DOOR,), "open connections")
REQUESTS: Final = Metric(
    "keybroker.broker.requests",
    "counter",
    "{request}",
    (ROUTE, OUTCOME, ERROR),
    "requests at broker and administration; exchanges are those of /token",
)
BUILD: Final = Metric(
    "keybroker.build.info", "gauge", "{build}", ("service.version", "process.runtime.version"), "always 1"
)
STARTS: Final = Metric("keybroker.process.starts", "counter", "{start}", (), "processes started, the first ones too")
CERTIFICATE: Final = Metric(
    "keybroker.certificate.expiry_timestamp", "gauge", "s", (), "when the certificate ends, epoch seconds"
)
READABLE: Final = Metric(
    "keybroker.state.readable", "gauge", "{state}", (), "1 while the state file can be read, else 0"
)
UPKEEP_FAULTS: Final = Metric(
    "keybroker.upkeep.faults", "counter", "{fault}", (ERROR,), "times that the upkeep of the state file failed"
)
KEY_SET: Final = Metric(
    "keybroker.key.set_timestamp", "gauge", "s", (KEY,), "when the version of a key in force was set, epoch seconds"
)
KEY_DUE: Final = Metric(
    "keybroker.key.due_timestamp",
    "gauge",
    "s",
    (KEY,),
    "when a key whose policy says `rotate_after` is due to be replaced, epoch seconds",
)
KEY_EXPIRES: Final = Metric(
    "keybroker.key.expiry_timestamp",
    "gauge",
    "s",
    (KEY,),
    "when the minted credential of a federated key ends, epoch seconds",
)
MINT_FAILURES: Final = Metric(
    "keybroker.mint.failures",
    "gauge",
    "{attempt}",
    (KEY, OUTCOME),
    "attempts in a row to mint a credential that a provider refused (`denied`), or did not answer (`away`)",
)
SIGNING: Final = Metric(
    "keybroker.signing_keys", "gauge", "{key}", ("keybroker.status",), "signing keys that are live, and tainted ones"
)
PROBED: Final = Metric(
    "keybroker.revocation_probe.timestamp", "gauge", "s", (), "when the last probe began, epoch seconds"
)
HELD: Final = Metric(
    "keybroker.revocation_probe.outcome", "gauge", "{probe}", (OUTCOME,), "1 for how the last probe ended, else 0"
)
PROBE_SECONDS: Final = Metric(
    "keybroker.revocation_probe.duration", "gauge", "s", (), "how long the last revocation took to hold, at most"
)
PROBE_EVERY: Final = Metric(
    "keybroker.revocation_probe.period", "gauge", "s", (), "from one probe to the next; 0: there is none"
)
FIRST_USES: Final = Metric(
    "keybroker.first_uses.today",
    "gauge",
    "{principal}",
    (KEY,),
    "principals with a token for a key since 00:00 UTC that had none in the 35 days before",
)
OVER_OWN: Final = Metric(
    "keybroker.principal.over_own_weeks",
    "gauge",
    "1",
    (),
    "of all principals with 100 calls today, the most calls beside the busiest day of its own last 28",
)

TABLE: Final = (
    *(CALLS, SECONDS, FIRST_BYTE, IO, INPUT, OUTPUT, CACHED, UNKNOWN, UNDER_WAY, CONNECTIONS, REQUESTS),
    *(BUILD, STARTS, CERTIFICATE, READABLE, UPKEEP_FAULTS, KEY_SET, KEY_DUE, KEY_EXPIRES, MINT_FAILURES, SIGNING),
    *(PROBED, HELD, PROBE_SECONDS, PROBE_EVERY, FIRST_USES, OVER_OWN),
)
"""All of them."""
BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(30.0, 60.0, 120.0, 300.0),
)
"""Upper bounds of both histograms in seconds: OpenTelemetry's for HTTP, and some beyond, since streams last minutes."""
OTHER: Final = "other"
MOST_NAMES: Final = 200
"""Values that a process gives a label; what comes on top is OTHER."""
