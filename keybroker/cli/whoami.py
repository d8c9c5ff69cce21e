"""`keybroker whoami`: which identity was found around this process, and what it says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from keybroker import ambient
from keybroker.cli import output, place, when
from keybroker.cli.place import Place
from keybroker.identity_claims import unverified_claims


@click.command(short_help="Show which identity was found here.")
@click.option("--claims", "everything", is_flag=True, help="All of the token's claims, as JSON.")
@click.option("--audience", metavar="TEXT", help="Whom the identity token is for. [KEYBROKER_AUDIENCE, or keybroker]")
@place.options
@place.passed
def whoami(at: Place, audience: str | None, everything: bool) -> None:  # noqa: FBT001  a flag
    """Show who this process is. The claims are as the token states them: only the broker verifies them."""
    with output.waiting("looking for an identity"):
        identity = ambient.find(audience)
    claims = unverified_claims(identity.unverified_subject_token)
    if everything:
        output.as_json(claims)
        output.message(f"found by {identity.source}; not verified")
    elif at.json:
        output.as_json({"source": identity.source, "unverified_claims": claims})
    else:
        output.members([("source", identity.source), *_members(claims)])


def _members(claims: Mapping[str, object]) -> list[tuple[str, object]]:
    if not claims:
        return [("identity", "whoever the AWS credentials are of: aws sts get-caller-identity")]
    named = (("issuer", "iss"), ("subject", "sub"), ("audience", "aud"))
    found: list[tuple[str, object]] = [(name, claims[claim]) for name, claim in named if claim in claims]
    expires = claims.get("exp")
    if isinstance(expires, int) and 0 < expires < 2**33:
        left = expires - int(time.time())
        found.append(("expires", f"{when.shown(expires)} ({f'in {left} s' if left > 0 else 'over'})"))
    return found
