"""AWS's own generator of bearer tokens for Bedrock, which asks nobody: credentials are the environment's."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from datetime import timedelta

from aws_bedrock_token_generator import provide_token  # type: ignore[import-not-found]  # in an environment of its own

from tests.integration.federation_sdks.programs import report

asked = report.settings()
name = "aws-bedrock-token-generator"
token = provide_token(asked["region"], expiry=timedelta(seconds=asked["expires"]))
json.dump({"version": f"{name} {importlib.metadata.version(name)}", "token": token}, sys.stdout)
