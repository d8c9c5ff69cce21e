"""boto3's client of STS, which signs its request as a role does."""

from __future__ import annotations

import boto3
from botocore.config import Config

from tests.integration.federation_sdks.programs import report

asked = report.settings()
client = boto3.client(
    "sts",
    region_name="eu-central-1",
    endpoint_url=asked["url"],
    aws_access_key_id=asked["access_key_id"],
    aws_secret_access_key="made-up",
    config=Config(retries={"total_max_attempts": 1}),
)


def mint() -> str:
    """Mint."""
    answer = client.get_web_identity_token(
        Audience=["https://api.anthropic.com"],
        DurationSeconds=600,
        SigningAlgorithm="ES384",
        Tags=[{"Key": "grant", "Value": "ci"}],
    )
    assert answer["Expiration"].tzinfo
    return str(answer["WebIdentityToken"])


report.run("boto3", mint)
