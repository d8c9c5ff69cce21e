"""`keybroker whoami`: shows this process's identity, and the claims of its token."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from keybroker.ambient import find_identity
from keybroker.claims import unverified_claims
from keybroker.cli import output
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.cli.times import format_time
from keybroker.duration import words


@click.command(short_help="Show this process's identity.")
@click.option("--claims", "everything", is_flag=True, help="Show all of the token's claims, as JSON.")
@click.option("--audience", metavar="TEXT", help="Audience of the identity token. [KEYBROKER_AUDIENCE, or keybroker]")
@common_options
@pass_settings
def whoami(settings: Settings, audience: str | None, everything: bool) -> None:  # noqa: FBT001  a flag
    """Show this process's identity. The claims are not verified here; only the broker verifies them."""
    with output.waiting("looking for an identity"):
        identity = find_identity(audience)
    claims = unverified_claims(identity.unverified_subject_token)
    if everything:
        output.as_json(claims)
        output.message(f"source: {identity.source}; not verified")
    elif settings.json:
        output.as_json({"source": identity.source, "unverified_claims": claims})
    else:
        output.members([("source", identity.source), *_members(claims)])


def _members(claims: Mapping[str, object]) -> list[tuple[str, object]]:
    if not claims:
        return [("identity", "the owner of the AWS credentials; run: aws sts get-caller-identity")]
    labels = (("issuer", "iss"), ("subject", "sub"), ("audience", "aud"))
    members: list[tuple[str, object]] = [(label, claims[claim]) for label, claim in labels if claim in claims]
    expires = claims.get("exp")
    if isinstance(expires, int | float) and 0 < expires < 2**33:
        left = int(expires) - int(time.time())
        members.append(("expires", f"{format_time(int(expires))} ({f'in {words(left)}' if left > 0 else 'expired'})"))
    return members
