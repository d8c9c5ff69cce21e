"""The certificates of a stage's domain names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from infra.aws_cli import AwsCli
from infra.preflight.finding import Finding
from infra.stage import EDGE_REGION, Stage

STACKS = ("public", "admin", "edge")


def findings(stage: Stage, aws: AwsCli, stack: str) -> Iterator[Finding]:
    """Yield why a stack's domain name would be refused."""
    chosen = stage.parameters.get(stack, {})
    domain, arn = chosen.get("Domain", ""), chosen.get("Certificate", "")
    if not domain and not arn:
        return
    if not (domain and arn):
        yield Finding(f"{stack} has {'a Domain and no Certificate' if domain else 'a Certificate and no Domain'}")
        return
    region = EDGE_REGION if stack == "edge" else stage.region
    if not arn.startswith("arn:") or arn.split(":")[2:4] != ["acm", region]:
        yield Finding(f"{stack} needs a certificate of ACM in {region}: {arn} is none")
        return
    found = aws.look("acm", "describe-certificate", "--certificate-arn", arn, "--region", region)["Certificate"]
    if found["Status"] != "ISSUED":
        yield Finding(f"the certificate of {domain} is {found['Status']}, not ISSUED: validate it in ACM first ({arn})")
    names = {found.get("DomainName", ""), *found.get("SubjectAlternativeNames", ())}
    if not covers(names, domain):
        yield Finding(f"the certificate of {stack} is for {', '.join(sorted(names))}, not for {domain}")


def covers(names: Iterable[str], domain: str) -> bool:
    """Whether a certificate for these names is one for a domain. A wildcard stands for one label (RFC 9525, section 6.3)."""
    wildcard = f"*.{domain.partition('.')[2]}"
    return bool({name.lower() for name in names} & {domain.lower(), wildcard.lower()})
