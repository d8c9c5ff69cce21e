"""Both doors and the edge as Lambda starts them, over moto, with each one's AWS requests recorded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import app
import edge
from chalicelib.aws import clients, config, target_items, watcher, wiring
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.aws.signing import public_jwk
from chalicelib.aws.watcher import WatcherConfig
from infra import signing_keys
from tests import aws_scenario, moto_kms
from tests.aws_requests import IamRequest, iam_requests
from tests.aws_roles import DOORS
from tests.aws_scenario import Caller
from tests.contracts.dynamodb_adapters import locked_moto
from tests.contracts.tables_template import create_tables
from tests.faulty_dynamodb import Door, Turn, door, serves

URLS = {"KEYBROKER_URL": "https://broker.example.com", "KEYBROKER_EDGE_URL": "https://keys.example.com"}


class Recorder:
    """Notes what each function asks of AWS. door: whose clients are made just now."""

    def __init__(self) -> None:
        self.door = ""
        self.requests: dict[str, set[IamRequest]] = {name: set() for name in DOORS}
        self._real = clients.make

    def make(self, service: str, region: str, endpoint: str | None = None, session: Any = None) -> Any:  # noqa: ANN401  as the real one
        client = self._real(service, region, endpoint, session)
        if self.door not in self.requests:
            return client
        found = self.requests[self.door]

        def note(params: Any, model: Any, **_: object) -> None:  # noqa: ANN401  botocore's
            found.update(iam_requests(service, model.name, params))

        client.meta.events.register(f"provide-client-params.{client.meta.service_model.service_id.hyphenize()}", note)
        return client

    def during(self, door: str, act: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever it returns
        self.door = door
        try:
            return act()
        finally:
            self.door = ""


@dataclass(frozen=True)
class Installed:
    """Two functions of the broker and one of the edge, as they are told what they are."""

    tables: Tables
    public: dict[str, str]
    admin: dict[str, str]
    directory: Path
    recorder: Recorder
    door: Door
    """What the edge's own client speaks to; botocore's clients are moto's by themselves."""

    def caller(self, door: str, identity: dict[str, str] | None = None) -> Caller:
        """Return a caller of a function that has just started."""
        function = {
            "public": lambda: app.public_app(lambda: wiring.public_ports(self.public)),
            "admin": lambda: app.admin_app(lambda: wiring.admin_ports(self.admin)),
        }[door]()
        return Caller(lambda event: self.recorder.during(door, lambda: function(event, None)), identity)

    def administrator(self) -> Caller:
        return self.caller("admin", {"userArn": aws_scenario.ADMINISTRATOR})

    def watch(self, now: int) -> str:
        """Run the watcher, one that has just started; return what it prints."""
        names = (self.tables.control, self.tables.counters, self.tables.ledger)
        config = WatcherConfig("us-east-1", "keybroker", *names, 5, 1000, 90)
        printed: list[str] = []

        def run() -> None:
            tables = self.tables._replace(client=make_client(config.region))
            watcher.run(config, tables, now, printed.append)

        self.recorder.during("watcher", run)
        return "".join(printed)

    def baked(self) -> dict[str, str]:
        """Return what is baked into the edge's zip."""
        return {
            "region": "us-east-1",
            "control": self.tables.control,
            "counters": self.tables.counters,
            "secrets_region": "us-east-1",
            "secrets_prefix": self.admin["KEYBROKER_SECRETS_PREFIX"],
            "issuer": self.public["KEYBROKER_URL"],
            "edge_url": self.public["KEYBROKER_EDGE_URL"],
        }

    def call(self, token: str) -> dict[str, Any]:
        """Call the edge, one that has just started."""
        return self.answer(aws_scenario.edge_event(token))

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return what an edge that has just started makes of CloudFront's event."""
        baked = self.directory / config.EDGE_FILE
        baked.write_text(json.dumps(self.baked()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", self.door.client.meta.endpoint_url)
            made: Any = config.edge_on_aws(baked)[0]
        handle = edge.make_handler(lambda: edge.Ports(made))
        with self.door.failing(self._noted), contextlib.closing(made.state._client):
            for _ in range(4):
                answer = handle(event, None)
                if answer.get("status") != "503":
                    break
        return answer

    def _noted(self, turn: Turn) -> None:
        service = turn.headers["authorization"].split("/")[3]
        self.recorder.requests["edge"].update(iam_requests(service, turn.operation, turn.body))
        serves(turn)


@contextlib.contextmanager
def installation(directory: Path, prefix: str, certificate: Path | None = None) -> Iterator[Installed]:
    """Install Keybroker, with a policy in force and a key set. prefix: of the tables, nobody else's. certificate: the door's."""
    with pytest.MonkeyPatch.context() as patch, door(certificate) as opened:
        tables = create_tables(locked_moto(), prefix)
        patch.setattr(target_items, "COPIES", "0123")  # moto takes some milliseconds for each
        moto_kms.mend(patch)
        recorder = Recorder()
        patch.setattr(clients, "make", recorder.make)

        kms = clients.make("kms", "us-east-1")
        keys = [kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"] for _ in range(2)]
        signing_keys.publish([public_jwk(kms, key) for key in keys], tables)
        shared = {
            "AWS_REGION": "us-east-1",
            "KEYBROKER_CONTROL": tables.control,
            "KEYBROKER_COUNTERS": tables.counters,
            "KEYBROKER_LEDGER": tables.ledger,
        }
        public = {**shared, **URLS, "KEYBROKER_DOOR": "public", "KEYBROKER_SIGNING_KEY": keys[0]}
        admin = {
            **shared,
            "KEYBROKER_DOOR": "admin",
            "KEYBROKER_SECRETS_PREFIX": prefix,
            "KEYBROKER_SECRETS_KEY": "alias/aws/secretsmanager",
        }
        one = Installed(tables, public, admin, directory, recorder, opened)
        assert aws_scenario.put_in_force(one.administrator(), aws_scenario.policy()).status == 200
        stored = one.administrator().ask(
            "PUT", "/admin/keys/{name}", {"value": aws_scenario.KEY_VALUE}, name="openai", query={"probe": "false"}
        )
        assert stored.status == 200, stored.body
        yield one
        for name in (tables.control, tables.counters, tables.ledger):
            tables.client.delete_table(TableName=name)


def issued(installed: Installed) -> str:
    """Return a token of ours for a fresh identity token."""
    answer = installed.caller("public").ask("POST", "/token", aws_scenario.wanted())
    assert answer.status == 200, answer.body
    return str(answer.json["access_token"])
