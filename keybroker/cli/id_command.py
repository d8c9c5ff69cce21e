"""A command that takes an id which may begin with `-`, as one of 64 base64url ids does, without `--` before it."""

from __future__ import annotations

import re

import click

_ID = re.compile(r"-(?:[A-Za-z0-9_-]{21}|[A-Za-z0-9_-]{42})")
"""16 or 32 bytes in base64url: what the broker's own ids and its signing keys' are. No option of ours is as long."""


class IdCommand(click.Command):
    """Reads an argument of an id's form as an id, wherever it stands, and everything else as click does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        with_value = {name for one in options if not one.is_flag for name in one.opts}
        rest, ids = list[str](), list[str]()
        left = iter(args)
        for one in left:
            if one == "--":
                return super().parse_args(ctx, [*rest, one, *ids, *left])
            (ids if _ID.fullmatch(one) else rest).append(one)
            if one in with_value:
                rest += [value for value in [next(left, None)] if value is not None]
        return super().parse_args(ctx, [*rest, "--", *ids] if ids else rest)
