"""What Lambda@Edge runs: `start.handler`. The door itself is edge.py."""

from __future__ import annotations

import gc

# What is imported stays for as long as the process lives: to look for garbage in it, again and again while it grows, is a
# tenth of a cold start. Afterwards it is left out, and what calls leave behind is looked at once for many of them.
gc.disable()

from edge import handler  # noqa: E402  after the line above, that is what it is for

gc.freeze()
gc.set_threshold(10_000)
gc.enable()

__all__ = ["handler"]
