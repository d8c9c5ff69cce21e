from __future__ import annotations

from collections.abc import Mapping

import pytest

from infra.preflight import certificates
from infra.stage import Stage
from tests.infra.preflight.answering import Answering

DOMAIN = "keys.example.com"


def arn(region: str) -> str:
    return f"arn:aws:acm:{region}:111122223333:certificate/1"


def found(stack: str, chosen: Mapping[str, str], status: str = "ISSUED", *names: str) -> list[str]:
    made = {"Status": status, "DomainName": "example.com", "SubjectAlternativeNames": list(names or (DOMAIN,))}
    aws = Answering(acm__describe_certificate={"Certificate": made})
    return [one.text for one in certificates.findings(Stage("prod", "eu-central-1", {stack: chosen}), aws, stack)]


@pytest.mark.parametrize(
    ("stack", "region"), [("public", "eu-central-1"), ("admin", "eu-central-1"), ("edge", "us-east-1")]
)
def test_a_certificate_is_in_its_region(stack: str, region: str) -> None:
    """A door's certificate is in the home region, the edge's in us-east-1."""
    other = "us-east-1" if region == "eu-central-1" else "eu-central-1"
    assert found(stack, {"Domain": DOMAIN, "Certificate": arn(region)}) == []
    (text,) = found(stack, {"Domain": DOMAIN, "Certificate": arn(other)})
    assert text == f"{stack} needs a certificate of ACM in {region}: {arn(other)} is none"


@pytest.mark.parametrize("chosen", [{"Domain": DOMAIN}, {"Certificate": arn("us-east-1")}])
def test_a_domain_and_its_certificate_come_together(chosen: Mapping[str, str]) -> None:
    (text,) = found("edge", chosen)
    assert text.startswith("edge has a ")


def test_a_certificate_must_be_issued() -> None:
    (text,) = found("edge", {"Domain": DOMAIN, "Certificate": arn("us-east-1")}, "PENDING_VALIDATION")
    assert text.startswith(f"the certificate of {DOMAIN} is PENDING_VALIDATION, not ISSUED")


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        (DOMAIN, True),
        ("KEYS.example.com", True),
        ("*.example.com", True),
        ("*.com", False),
        ("*.keys.example.com", False),
        ("example.com", False),
    ],
)
def test_the_certificate_is_for_the_domain(name: str, *, covered: bool) -> None:
    """A wildcard stands for exactly one label."""
    said = found("edge", {"Domain": DOMAIN, "Certificate": arn("us-east-1")}, "ISSUED", name)
    assert (said == []) is covered
