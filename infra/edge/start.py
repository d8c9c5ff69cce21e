"""The handler that Lambda@Edge is configured with, `start.handler`. It is edge.py's, imported for a quick cold start."""

from __future__ import annotations

import gc

# What is imported lives as long as the process, and collecting garbage repeatedly while it grows takes a tenth of a cold
# start. It is then frozen, so that later collections look only at what calls leave behind, and run once for many calls.
gc.disable()

from edge import handler, start  # noqa: E402  garbage collection has to be off first

start()

gc.freeze()
gc.set_threshold(10_000)
gc.enable()

__all__ = ["handler"]
