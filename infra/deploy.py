"""`make deploy STAGE=…`: deploys broker, administration and edge. Running it again deploys what has changed.

Without domain names, a URL is known only once its stack exists, and broker and edge need each other's: so the first
deployment does both twice. Until both URLs are known, the broker refuses everything.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra import broker_zip, package, signing_keys
from infra.aws_cli import AwsCli, AwsCommandError
from infra.edge.__main__ import WHEELS
from infra.preflight import account, checks
from infra.stage import EDGE_REGION, Stage

LOG_DAYS = "90"
"""Default retention of the edge's log lines, in days, in the regions without a stack."""


@dataclass(frozen=True)
class Deployment:
    """One deployment.

    stage: what is deployed
    aws: runs the commands
    out: the folder with the packages
    log_regions: where the edge's log group is created; empty: in every region
    """

    stage: Stage
    aws: AwsCli
    out: Path
    log_regions: tuple[str, ...] = ()

    def run(self) -> Mapping[str, str]:
        """Deploy everything and return the URLs; raises AwsCommandError, ValueError or RuntimeError."""
        stage, aws = self.stage, self.aws
        number = aws.account(stage.region)
        named = {"Prefix": stage.prefix}
        topics: dict[str, str] = {}
        for region in dict.fromkeys((stage.region, EDGE_REGION, *stage.probe_regions)):
            aws.deploy(stage.stack("artefacts"), self.out / "artefacts.yaml", region, named)
            here = {**named, "Home": str(region == stage.region).lower()}
            if region in (stage.region, EDGE_REGION):
                values = {**here, "EdgeFunction": str(region == EDGE_REGION).lower(), **self._parameters("logs")}
                aws.deploy(stage.stack("logs"), self.out / "logs.yaml", region, values)
            watch = {**here, **self._parameters("watch")}
            topics[region] = aws.deploy(stage.stack("watch"), self.out / "watch.yaml", region, watch)["Topic"]
        warmed = {**named, **self._parameters("tables")}
        tables = aws.deploy(stage.stack("tables"), self.out / "tables.yaml", stage.region, warmed)
        may = {**named, **self._parameters("keys")}
        keys = aws.deploy(stage.stack("keys"), self.out / "keys.yaml", stage.region, may)
        self._protect("tables", "keys")
        signing = {name: keys[name] for name in ("SigningKeyA", "SigningKeyB")}
        shared = {**named, "TablesKey": tables["KeyArn"]}
        bucket = stage.bucket(number, stage.region)
        admin = {**shared, "ProviderKeysKey": keys["ProviderKeysKey"], **self._asking_the_minter()}
        administration = self._administration(admin, bucket)
        self._publish(tables["ControlName"], list(signing.values()))
        opens = {name: keys[name] for name in ("ProviderKeysKey", "MintedKey") if name in keys}
        broker, edge = self._doors({**shared, **signing}, {**shared, **opens, "Topic": topics[EDGE_REGION]}, number)
        if admin.get("Url", broker) != broker:  # it was not known yet
            administration = self._administration({**admin, "Url": broker}, bucket)
        self._watch({**shared, **signing, "Topic": topics[stage.region]}, bucket)
        self._audit(shared, bucket)
        self._probe({**shared, "Url": broker, "EdgeUrl": edge}, topics, number)
        self._minter({**shared, "Topic": topics[stage.region], "Url": broker}, keys, bucket)
        self._keep_logs()
        return {"broker": broker, "edge": edge, "administration": administration["Url"]}

    def _doors(self, public: Mapping[str, str], edge: Mapping[str, str], account: str) -> tuple[str, str]:
        """Deploy broker and edge, repeatedly until each knows the other's URL; return both."""
        known = (self._url("public", self.stage.region), self._url("edge", EDGE_REGION))
        for _ in range(3):
            broker = self._broker(public, known, account)
            edge_url = self._edge(edge, broker, known[1], account)
            if (broker, edge_url) == known or self.aws.dry_run:
                return broker, edge_url
            known = (broker, edge_url)
        raise AwsCommandError("the URLs of broker and edge change with every deployment")

    def _broker(self, parameters: Mapping[str, str], known: tuple[str, str], account: str) -> str:
        stage = self.stage
        values = {**parameters, "Url": known[0], "EdgeUrl": known[1], **self._of_door("public")}
        bucket = stage.bucket(account, stage.region)
        template = self.out / "public" / "sam.yaml"
        return self.aws.deploy(stage.stack("public"), template, stage.region, values, bucket)["Url"]

    def _edge(self, parameters: Mapping[str, str], broker: str, edge_url: str, account: str) -> str:
        stage, url = self.stage, urlsplit(broker)
        baked = {
            "region": stage.region,
            "control": f"{stage.prefix}-control",
            "counters": f"{stage.prefix}-counters",
            "secrets_region": stage.region,
            "secrets_prefix": stage.prefix,
            "issuer": broker,
            "edge_url": edge_url or broker,  # until it is known; until then the broker issues no tokens
        }
        if not self.aws.dry_run:
            (self.out / "edge.json").write_text(json.dumps(baked), encoding="utf-8")
            package.build_edge(self.out, WHEELS, self.out / "edge.json")
        values = {**parameters, "HomeRegion": stage.region, "BrokerHost": url.netloc, "BrokerPath": url.path}
        values |= self._parameters("edge")
        bucket = stage.bucket(account, EDGE_REGION)
        return self.aws.deploy(stage.stack("edge"), self.out / "edge" / "edge.yaml", EDGE_REGION, values, bucket)["Url"]

    def _watch(self, parameters: Mapping[str, str], bucket: str) -> None:
        stage = self.stage
        distribution = self.aws.stack_outputs(stage.stack("edge"), EDGE_REGION).get("DistributionId", "")
        values = {**parameters, "DistributionId": distribution, **self._parameters("watcher")}
        self.aws.deploy(stage.stack("watcher"), self.out / "watcher.yaml", stage.region, values, bucket)

    def _audit(self, parameters: Mapping[str, str], bucket: str) -> None:
        """Deploy what looks after the audit, for a stage whose file says how; one without it has no such stack."""
        if chosen := self._parameters("audit"):
            stack, template = self.stage.stack("audit"), self.out / "audit.yaml"
            self.aws.deploy(stack, template, self.stage.region, {**parameters, **chosen}, bucket)

    def _probe(self, parameters: Mapping[str, str], topics: Mapping[str, str], account: str) -> None:
        """Deploy what measures revocations, for a stage whose file says so; one without it has no such stack.

        The home region is first, whose stack has the role of all. topics: by region.
        """
        if chosen := self._parameters("probe"):
            stage = self.stage
            api = self.aws.stack_outputs(stage.stack("public"), stage.region).get("RestAPIId", "")
            for region in (stage.region, *stage.probe_regions):
                home = {} if region == stage.region else {"HomeRegion": stage.region}
                values = {**parameters, **home, "Topic": topics[region], "Api": api, **chosen}
                bucket = stage.bucket(account, region)
                self.aws.deploy(stage.stack("probe"), self.out / "probe.yaml", region, values, bucket)

    def _asking_the_minter(self) -> Mapping[str, str]:
        """Return the administration's parameters for a stage whose file has a minter; for one without it, none."""
        if self._parameters("minter").get("Enabled") != "true":
            return {}
        return {"Minter": "true", "Url": self._url("public", self.stage.region)}

    def _administration(self, parameters: Mapping[str, str], bucket: str) -> Mapping[str, str]:
        stage, values = self.stage, {**parameters, **self._of_door("admin")}
        return self.aws.deploy(stage.stack("admin"), self.out / "admin" / "sam.yaml", stage.region, values, bucket)

    def _minter(self, parameters: Mapping[str, str], keys: Mapping[str, str], bucket: str) -> None:
        """Deploy what mints, for a stage whose file says so; one without it has no such stack. keys: outputs of that stack."""
        if self._parameters("minter"):
            if "MintedKey" not in keys and not self.aws.dry_run:
                raise AwsCommandError('the minter needs a key: add {"keys": {"Minter": "true"}} to the stage\'s file')
            ours = [keys[name] for name in ("FederationKeyElliptic", "FederationKeyRsa") if name in keys]
            values = {**parameters, "MintedKey": keys.get("MintedKey", ""), "FederationKeys": ",".join(ours)}
            values |= self._of_door("minter")
            stage = self.stage
            self.aws.deploy(stage.stack("minter"), self.out / "minter.yaml", stage.region, values, bucket)

    def _parameters(self, stack: str) -> Mapping[str, str]:
        return self.stage.parameters.get(stack, {})

    def _of_door(self, door: str) -> Mapping[str, str]:
        """Return the parameters of a door; without executions of its own where the account may reserve none."""
        return {**self._unreserved, **self._parameters(door)}

    @functools.cached_property
    def _unreserved(self) -> Mapping[str, str]:
        query = ("--query", "AccountLimit.ConcurrentExecutions", "--output", "text", "--region", self.stage.region)
        limit = self.aws.run("lambda", "get-account-settings", *query).strip()
        if not limit.isdigit() or int(limit) >= account.RESERVING:
            return {}
        sys.stderr.write(
            f"warning: this account runs {limit} functions at once, so none can be reserved: a flood at the broker or the "
            "edge can keep administrators out. Request a higher limit, then deploy again.\n"
        )
        return {"Concurrency": "0"}

    def _url(self, stack: str, region: str) -> str:
        return self.aws.stack_outputs(self.stage.stack(stack), region).get("Url", "")

    def _protect(self, *stacks: str) -> None:
        for one in stacks:
            named = ("--stack-name", self.stage.stack(one), "--region", self.stage.region)
            self.aws.run("cloudformation", "update-termination-protection", "--enable-termination-protection", *named)

    def _publish(self, control: str, keys: list[str]) -> None:
        arguments = ["--region", self.stage.region, "--control", control, *keys]
        sys.stdout.write(f"$ python -m infra.signing_keys {' '.join(arguments)}\n")
        if not self.aws.dry_run and signing_keys.main(arguments):
            raise AwsCommandError("the signing keys were not published, so the edge would admit no token")

    def _keep_logs(self) -> None:
        """Create the edge's log group in each region, before the function creates one without a retention."""
        regions = [
            one for one in self.log_regions or self.aws.regions(self.stage.region) if one != EDGE_REGION
        ]  # that one is in a stack
        with ThreadPoolExecutor(max_workers=8) as pool:
            faults = dict(zip(regions, pool.map(self._keep_log, regions), strict=True))
        denied = sorted(region for region, fault in faults.items() if fault)
        if denied:  # by an organization, say: what is deployed works, and the edge may not run there at all
            sys.stderr.write(
                f"warning: no retention of the edge's log lines in {', '.join(denied)}: {faults[denied[0]]}\n"
            )

    def _keep_log(self, region: str) -> str:
        """Return what AWS said if the retention was not set."""
        named = ("--log-group-name", self.stage.edge_log_group, "--region", region)
        with contextlib.suppress(AwsCommandError):  # it exists already
            self.aws.run("logs", "create-log-group", *named)
        days = self._parameters("logs").get("Days", LOG_DAYS)
        try:
            self.aws.run("logs", "put-retention-policy", "--retention-in-days", days, *named)
        except AwsCommandError as fault:
            return str(fault)
        return ""


def main(arguments: list[str]) -> int:
    """Deploy a stage."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="Deploy a stage on AWS.")
    parser.add_argument("stage")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", ""))
    parser.add_argument("--out", type=Path, default=package.OUT)
    parser.add_argument(
        "--log-regions", nargs="*", default=(), help="where the edge's log group is created (default: every region)"
    )
    parser.add_argument("--check", action="store_true", help="only check what a deployment needs")
    parser.add_argument("--show", action="store_true", help="print the commands without running them")
    options = parser.parse_args(arguments)
    try:
        stage = Stage.read(options.stage, options.region)
        missing = [door for door in broker_zip.DOORS if not (options.out / door / "sam.yaml").exists()]
        if missing and not options.show:
            raise ValueError("nothing is built yet: run make package")
        aws = AwsCli(dry_run=options.show)
        passed = options.show or checks.passes(stage, aws, options.out)
        if options.check or not passed:
            return int(not passed)
        urls = Deployment(stage, aws, options.out, tuple(options.log_regions)).run()
    except (AwsCommandError, OSError, ValueError, RuntimeError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1
    for name, url in urls.items():
        sys.stdout.write(f"{name}: {url}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
