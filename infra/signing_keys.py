"""Publishes the KMS signing keys, so that their tokens are accepted. `make deploy` runs it once the tables exist.

It uses the deploying AWS identity: the broker itself must not decide which keys may sign tokens. Once keys are listed as
live, the list stays: a key that is no longer listed is tainted, and must stay so however often this runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from chalicelib.aws import clients, dynamodb
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.signing import public_jwk
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.errors import Unavailable


def publish(jwks: Sequence[Mapping[str, str]], tables: dynamodb.Tables, live: Sequence[str] = ()) -> tuple[str, ...]:
    """Publish keys, and list them as live unless some already are; return the live kids. Raises Unavailable.

    live: kids to list in place of the current ones: tokens of any other key are refused from the next call on.
    """
    published = DynamoSigningKeys(tables)
    for jwk in jwks:
        published.publish(jwk)
    control = DynamoControl(tables)
    listed = control.live_signing_keys()
    if live or not listed:
        listed = tuple(live or [jwk["kid"] for jwk in jwks])
        control.list_signing_keys(listed)
    return listed


def main(arguments: list[str]) -> int:
    """Publish the keys and print which are live."""
    parser = argparse.ArgumentParser(prog="python -m infra.signing_keys", description="Publish the signing keys.")
    parser.add_argument("--region", required=True)
    parser.add_argument("--control", required=True, help="the name of the table `control`")
    parser.add_argument(
        "--live",
        action="append",
        default=[],
        metavar="KID",
        help="list this key as live, and no others (repeatable; --live=KID, for a KID may begin with a hyphen)",
    )
    parser.add_argument("keys", nargs="+", help="the ARNs of the KMS keys")
    options = parser.parse_args(arguments)
    kms = clients.patient("kms", options.region)
    client = dynamodb.checked(clients.patient("dynamodb", options.region))
    tables = dynamodb.Tables(client, options.control, counters="", ledger="")
    try:
        jwks = [public_jwk(kms, key) for key in options.keys]
        unknown = set(options.live) - {jwk["kid"] for jwk in jwks}
        if unknown:
            sys.stderr.write(f"error: not among these keys: {', '.join(sorted(unknown))}\n")
            return 1
        live = publish(jwks, tables, options.live)
    except Unavailable as fault:
        said = ", ".join(filter(None, (fault.hint, fault.aws_code)))
        sys.stderr.write(f"error: {fault.reason} ({said or 'no answer'})\n")
        return 1
    for jwk in jwks:
        sys.stdout.write(f"signing key {jwk['kid']}: published, {'live' if jwk['kid'] in live else 'NOT LISTED'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
