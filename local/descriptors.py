"""How many file descriptors a process of one machine may have, and what each door gets of them.

Every worker has its own. Some are kept for what is no door's: the state file, the fetching of issuers' keys, and the
administration, which must come in whatever strangers do.
"""

from __future__ import annotations

import contextlib
import resource
from dataclasses import dataclass

from local.errors import TooFewDescriptors

LEAST = 512
"""With fewer, a worker does not start."""
WANTED = 16_384
"""With more, a worker takes no more connections."""
_KEPT = 144
"""For the state file in each thread (about 80 with all that a worker starts with), issuers' keys and name look-ups."""
_MOST_BROKER, _MOST_EDGE = 1_024, 4_096


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker's doors get of its descriptors.

    broker: connections to the broker and the administration
    edge: connections to the edge; for a call on one there is a second, to its provider, and perhaps one kept for the next
    provider_below: a connection to a provider may have no descriptor from this number on. Descriptors are numbered from
        the lowest free one, so those above stay free for everything else
    at_once: connections that a door accepts at once, before it looks whether it has room for them
    """

    broker: int
    edge: int
    provider_below: int
    at_once: int

    @classmethod
    def of(cls, limit: int) -> Share:
        """Return the shares under a limit of so many descriptors; raises TooFewDescriptors."""
        if limit < LEAST:
            raise TooFewDescriptors(
                hint=f"the limit of open files is {limit}: raise it to {LEAST} or more, better {WANTED:,} (ulimit -Hn)"
            )
        # A door has been given a few that it has not looked at yet, or has closed and not let go of yet.
        at_once = min(64, max(1, (limit - 2 * _KEPT) // 64))
        kept = _KEPT + 4 * at_once
        # Counted twice, the broker's and those that are kept: they may lie under `provider_below`, where three for each
        # connection to the edge must fit beside them, or come when all under it is taken.
        left = limit - 2 * kept
        broker = min(_MOST_BROKER, left // 4)
        return cls(broker, min(_MOST_EDGE, (left - 2 * broker) // 3), limit - kept - broker, at_once)


def raise_limit() -> None:
    """Raise this process's limit, which its children inherit, to WANTED, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit beside it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def share() -> Share:
    """Return the shares of this process; raises TooFewDescriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Share.of(WANTED if soft == resource.RLIM_INFINITY else soft)
