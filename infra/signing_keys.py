"""`make deploy` runs this once the tables are there: lets tokens be verified with the signing keys that KMS holds.

Administrators' work, done with the AWS identity of whoever deploys: the broker itself must not be able to say which keys
tokens may be signed with. Nothing is listed anew once keys are listed, for one that is no longer listed is tainted, and
must stay so however often this is deployed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.aws import clients, dynamodb
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.signing import public_jwk
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.errors import Unavailable


def publish(jwks: Sequence[Mapping[str, str]], tables: dynamodb.Tables, live: Sequence[str] = ()) -> tuple[str, ...]:
    """Publish keys, and list them as live unless some are listed; return the kids that are. Raises Unavailable.

    live: kids to be listed whatever is listed now, and no others: a token of any other is refused from the next call on.
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
    """Publish the keys that the arguments name, and say which are live."""
    parser = argparse.ArgumentParser(prog="python -m infra.signing_keys", description="Publish the signing keys.")
    parser.add_argument("--region", required=True)
    parser.add_argument("--control", required=True, help="the name of the table `control`")
    parser.add_argument("--live", action="append", default=[], metavar="KID", help="list this one, and none but those")
    parser.add_argument("keys", nargs="+", help="the ARNs of the KMS keys")
    asked = parser.parse_args(arguments)
    kms: Any = clients.make("kms", asked.region)
    tables = dynamodb.Tables(dynamodb.make_client(asked.region), asked.control, counters="", ledger="")
    try:
        jwks = [public_jwk(kms, key) for key in asked.keys]
        unknown = set(asked.live) - {jwk["kid"] for jwk in jwks}
        if unknown:
            sys.stderr.write(f"error: none of these keys is {', '.join(sorted(unknown))}\n")
            return 1
        live = publish(jwks, tables, asked.live)
    except Unavailable as fault:
        sys.stderr.write(f"error: {fault.reason} ({fault.aws_code or 'no answer'})\n")
        return 1
    for jwk in jwks:
        sys.stdout.write(f"signing key {jwk['kid']}: published, {'live' if jwk['kid'] in live else 'NOT LISTED'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
