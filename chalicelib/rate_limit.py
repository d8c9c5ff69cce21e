"""What is left of a quota, as headers: RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.quota import WINDOWS, Allowance


def headers(allowances: Sequence[Allowance]) -> dict[str, str]:
    """Return both headers, each with an item for every limit; none where there is no limit to tell of.

    q: how many in a window of w seconds; r: how many are left; t: seconds until the window ends, as Retry-After says.
    """
    if not allowances:
        return {}
    policy = (f'"{_name(one)}";q={one.limit.count};w={WINDOWS[one.limit.window]}' for one in allowances)
    left = (f'"{_name(one)}";r={one.left};t={one.resets}' for one in allowances)
    return {"ratelimit-policy": ", ".join(policy), "ratelimit": ", ".join(left)}


def _name(allowance: Allowance) -> str:
    parts = ("total" * allowance.shared, allowance.what, allowance.limit.window)
    return "-".join(part for part in parts if part)
