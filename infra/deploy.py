"""`make deploy STAGE=…`: from a clone to a broker, its administration and an edge. Running it again changes what changed.

A URL is known once what answers it is there, and the broker has to be told the edge's and the edge the broker's: so the
first deployment goes round twice where no domain name was chosen. Until both are known the broker refuses everything.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra import broker_zip, package, signing_keys
from infra.aws_cli import AwsCli, AwsFailed
from infra.edge.__main__ import WHEELS
from infra.stage import EDGE_REGION, Stage

LOG_DAYS = "90"
"""Days that the edge's log lines are kept in regions that its stack is not in, unless chosen."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One run. out: where what is built lies. log_regions: where the edge's log is kept; every region unless given."""

    stage: Stage
    aws: AwsCli
    out: Path
    log_regions: tuple[str, ...] = ()

    def run(self) -> Mapping[str, str]:
        """Deploy everything and return the URLs; raises AwsFailed, ValueError or RuntimeError."""
        stage, aws = self.stage, self.aws
        account = aws.account(stage.region)
        named = {"Prefix": stage.prefix}
        for region in dict.fromkeys((stage.region, EDGE_REGION)):
            aws.deploy(stage.stack("artefacts"), self.out / "artefacts.yaml", region, named)
            here = {"Home": region == stage.region, "EdgeFunction": region == EDGE_REGION}
            told = {**named, **{name: str(one).lower() for name, one in here.items()}, **self._chosen("logs")}
            aws.deploy(stage.stack("logs"), self.out / "logs.yaml", region, told)
        tables = aws.deploy(stage.stack("tables"), self.out / "tables.yaml", stage.region, named)
        keys = aws.deploy(stage.stack("keys"), self.out / "keys.yaml", stage.region, named)
        self._protect("tables", "keys")
        signing = {name: keys[name] for name in ("SigningKeyA", "SigningKeyB")}
        shared = {**named, "TablesKey": tables["KeyArn"]}
        bucket = stage.bucket(account, stage.region)
        admin = {**shared, "ProviderKeysKey": keys["ProviderKeysKey"], **self._chosen("admin")}
        administration = aws.deploy(stage.stack("admin"), self.out / "admin" / "sam.yaml", stage.region, admin, bucket)
        self._publish(tables["ControlName"], list(signing.values()))
        broker, edge = self._doors(
            {**shared, **signing}, {**shared, "ProviderKeysKey": keys["ProviderKeysKey"]}, account
        )
        self._keep_logs()
        return {"broker": broker, "edge": edge, "administration": administration["Url"]}

    def _doors(self, public: Mapping[str, str], edge: Mapping[str, str], account: str) -> tuple[str, str]:
        """Deploy broker and edge, again until each knows the other's URL; return both."""
        known = (self._url("public", self.stage.region), self._url("edge", EDGE_REGION))
        for _ in range(3):
            broker = self._broker(public, known, account)
            edge_url = self._edge(edge, broker, known[1], account)
            if (broker, edge_url) == known or self.aws.shown_only:
                return broker, edge_url
            known = (broker, edge_url)
        raise AwsFailed("the URLs of broker and edge change with every deployment")

    def _broker(self, parameters: Mapping[str, str], known: tuple[str, str], account: str) -> str:
        stage = self.stage
        told = {**parameters, "Url": known[0], "EdgeUrl": known[1], **self._chosen("public")}
        bucket = stage.bucket(account, stage.region)
        template = self.out / "public" / "sam.yaml"
        return self.aws.deploy(stage.stack("public"), template, stage.region, told, bucket)["Url"]

    def _edge(self, parameters: Mapping[str, str], broker: str, edge_url: str, account: str) -> str:
        stage, url = self.stage, urlsplit(broker)
        baked = {
            "region": stage.region,
            "control": f"{stage.prefix}-control",
            "counters": f"{stage.prefix}-counters",
            "secrets_region": stage.region,
            "secrets_prefix": stage.prefix,
            "issuer": broker,
            "edge_url": edge_url or broker,  # until it is known; the broker sends nobody to the edge before
        }
        if not self.aws.shown_only:
            (self.out / "edge.json").write_text(json.dumps(baked), encoding="utf-8")
            package.build_edge(self.out, WHEELS, self.out / "edge.json")
        told = {**parameters, "HomeRegion": stage.region, "BrokerHost": url.netloc, "BrokerPath": url.path}
        told |= self._chosen("edge")
        bucket = stage.bucket(account, EDGE_REGION)
        return self.aws.deploy(stage.stack("edge"), self.out / "edge" / "edge.yaml", EDGE_REGION, told, bucket)["Url"]

    def _chosen(self, stack: str) -> Mapping[str, str]:
        return self.stage.chosen.get(stack, {})

    def _url(self, stack: str, region: str) -> str:
        return self.aws.stack_outputs(self.stage.stack(stack), region).get("Url", "")

    def _protect(self, *stacks: str) -> None:
        for one in stacks:
            named = ("--stack-name", self.stage.stack(one), "--region", self.stage.region)
            self.aws.run("cloudformation", "update-termination-protection", "--enable-termination-protection", *named)

    def _publish(self, control: str, keys: list[str]) -> None:
        arguments = ["--region", self.stage.region, "--control", control, *keys]
        sys.stdout.write(f"$ python -m infra.signing_keys {' '.join(arguments)}\n")
        if not self.aws.shown_only and signing_keys.main(arguments):
            raise AwsFailed("the signing keys were not published: no token would be admitted")

    def _keep_logs(self) -> None:
        """Have the edge's log group in each region, before the function makes one that keeps lines for ever."""
        regions = [
            one for one in self.log_regions or self.aws.regions(self.stage.region) if one != EDGE_REGION
        ]  # there it is a stack's
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(self._keep_log, regions))

    def _keep_log(self, region: str) -> None:
        named = ("--log-group-name", self.stage.edge_log_group, "--region", region)
        with contextlib.suppress(AwsFailed):  # it is there
            self.aws.run("logs", "create-log-group", *named)
        days = self._chosen("logs").get("Days", LOG_DAYS)
        self.aws.run("logs", "put-retention-policy", "--retention-in-days", days, *named)


def main(arguments: list[str]) -> int:
    """Deploy the stage that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="Deploy a stage on AWS.")
    parser.add_argument("stage")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", ""))
    parser.add_argument("--out", type=Path, default=package.OUT)
    parser.add_argument("--log-regions", nargs="*", default=(), help="where the edge's log is kept; else everywhere")
    parser.add_argument("--show", action="store_true", help="show the commands and run none")
    asked = parser.parse_args(arguments)
    try:
        stage = Stage.read(asked.stage, asked.region)
        missing = [door for door in broker_zip.DOORS if not (asked.out / door / "sam.yaml").exists()]
        if missing and not asked.show:
            raise ValueError("nothing is built yet: make package")
        urls = Deployment(stage, AwsCli(shown_only=asked.show), asked.out, tuple(asked.log_regions)).run()
    except (AwsFailed, OSError, ValueError, RuntimeError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1
    for name, url in urls.items():
        sys.stdout.write(f"{name}: {url}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
