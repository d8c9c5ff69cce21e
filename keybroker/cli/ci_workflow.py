"""The CI configuration that `keybroker setup github|gitlab` prints or writes."""

from __future__ import annotations

import json
import re

from keybroker.cli import sdk_variables
from keybroker.cli.command_error import LOCAL, CommandError

# SECURITY: neither can be a name that a stranger registers: a file that was not filled in fails before it runs anything
# (test_placeholders_can_belong_to_nobody).
NO_ACTION = "<owner>/keybroker@<commit>"
"""Stands for the Action, which has no public address yet; GitHub refuses it as malformed."""
NO_SOURCE = "git+https://git.example.com/keybroker@COMMIT"
"""Stands for what pip installs; `example.com` is reserved."""
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A name in a policy."""
_ACTION = re.compile(r"[\w-]+/[\w.-]+(/[\w.-]+)*@([0-9a-f]{40}|[0-9a-f]{64})", re.ASCII)
"""A full commit, since a tag or a branch can be moved."""
_SOURCE = re.compile(r"(git\+https|git\+ssh|https|file)://[!#%&*-;=?-Z_a-z~]+")
"""Without spaces, quotes and `$`, which CI systems fill in."""
_CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
"""The newest release in November 2026."""
_GITHUB = """\
# One job that calls {name} without holding its key. The broker decides by the job's identity (docs/grants.md).
name: keybroker
on: [push]
permissions: {{}} # none for other jobs
jobs:
  call:
    runs-on: ubuntu-latest
    permissions:
      contents: read # to check out the repository
      id-token: write # to ask for the job's identity
    steps:
      - uses: {checkout}
        with:
          persist-credentials: false
      # Install here what job.py needs, before the job has a token.
      - uses: {action}
        id: keybroker
        with:
          url: {url}
          key: {key}
      - run: python3 job.py
        env:
{variables}
"""
_GITLAB = """\
# One job that calls {name} without holding its key. The broker decides by the job's identity (docs/grants.md).
call:
  image: python:3
  id_tokens:
    KEYBROKER_ID_TOKEN:
      aud: keybroker
  variables:
    KEYBROKER_URL: {url}
    KEYBROKER_SOURCE: {source}
  script:
    - pip install "keybroker[cli] @ $KEYBROKER_SOURCE"
    - keybroker exec --key {name} -- python job.py
"""


def github(key: str, url: str, action: str) -> str:
    """Return a workflow: checkout first, the token right before the program that uses it. action: OWNER/NAME@COMMIT.

    Raises CommandError: `action` or `key` has another form.
    """
    _check_key(key)
    if action != NO_ACTION and not _ACTION.fullmatch(action):
        raise CommandError(
            LOCAL,
            f"--action: {action!r} is not OWNER/NAME@COMMIT",
            "pass the full SHA of a commit, which cannot be moved",
        )
    values = sdk_variables.variables_for(key).assignments(_output("token"), _output("base-url"))
    return _GITHUB.format(
        name=key,
        checkout=_CHECKOUT,
        action=action,
        url=json.dumps(url),
        key=json.dumps(key),
        variables="\n".join(f"          {name}: {value}" for name, value in values.items()),
    )


def gitlab(key: str, url: str, source: str) -> str:
    """Return a job to include. source: what pip installs. Raises CommandError: `source` or `key` has another form."""
    _check_key(key)
    if not _SOURCE.fullmatch(source):
        raise CommandError(
            LOCAL, f"--source: {source!r} is not a URL for pip", "pass git+https://…@COMMIT, or a wheel's URL"
        )
    return _GITLAB.format(name=key, url=json.dumps(url), source=source)


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise CommandError(LOCAL, f"--key: {key!r} is not the name of a key", "names are letters, digits, `-` and `_`")


def _output(name: str) -> str:
    return f"${{{{ steps.keybroker.outputs.{name} }}}}"
