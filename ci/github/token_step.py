"""The action's main step: exchanges the job's identity token and sets the outputs, or shows an error and a summary."""

from __future__ import annotations

import datetime as dt
import hashlib
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("repository.py")))  # first, so that the imports below are found

from ci.github import claims_summary, runner  # noqa: E402  found by the line above
from keybroker import KeybrokerError, Token, TokenProvider, find_identity  # noqa: E402
from keybroker.audience import discover_audience  # noqa: E402
from keybroker.claims import unverified_claims  # noqa: E402
from keybroker.cli import sdk_variables  # noqa: E402


def main() -> int:
    """Return the step's exit code."""
    claims: Mapping[str, object] = {}
    try:
        url, key = _required("url"), _required("key")
        wanted = runner.given("audience") or None
        claims = unverified_claims(find_identity(wanted).unverified_subject_token)
        if wanted is None:
            wanted = discover_audience(url, str(claims.get("iss", "")))
        provider = TokenProvider(
            key, url, grant=runner.given("grant") or None, scope=runner.given("scope") or None, audience=wanted
        )
        _set_outputs(url, key, provider.token())
    except KeybrokerError as error:
        runner.error(str(error))
        runner.summarize(claims_summary.refused(str(error), claims))
        return 1
    return 0


def _required(name: str) -> str:
    value = runner.given(name)
    if not value:
        raise KeybrokerError(f"missing input: {name!r}")
    return value


def _set_outputs(url: str, key: str, token: Token) -> None:
    text = token.access_token
    runner.mask(text)  # SECURITY: before anything else is written (test_the_token_is_masked_before_it_is_written)
    runner.write("GITHUB_STATE", {"URL": url, "TOKEN": text})
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=token.expires_in)
    expires_at = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    runner.write("GITHUB_OUTPUT", {"token": text, "base-url": token.base_url, "expires-at": expires_at})
    if runner.given("export").lower() == "true":
        runner.write("GITHUB_ENV", sdk_variables.variables_for(key).assignments(text, token.base_url))
    digest = hashlib.sha256(text.encode()).hexdigest()
    runner.say(f"a token for {key} until {expires_at}, revoked when the job ends; its SHA-256 is {digest}")
    runner.say(f"it allows {token.scope} at {token.base_url}")


if __name__ == "__main__":
    sys.exit(main())
