"""A policy of any size, for tests and benches of what must not grow with it."""

from __future__ import annotations

from collections.abc import Iterator

CROWD = "crowd"
"""The key that a crowd of grants of one issuer opens."""


def large_policy(grants: int, *, issuers: int = 1, crowd: int = 0) -> str:
    """Return a policy with so many grants, in the language of `tests.parts`.

    Its first grant is `one`: of the tests' CI issuer, for `openai`. crowd: how many of the others are `crowd-0`, … of
    that issuer for `CROWD`; of these, `crowd-34` admits what `tests.parts.mint` makes. The rest belong to the issuers
    behind the first, in turn.
    """
    return "\n".join(_lines(grants, issuers, crowd)) + "\n"


def _lines(grants: int, issuers: int, crowd: int) -> Iterator[str]:
    yield from ("keys:", "  openai: {provider: openai}", "  anthropic: {provider: anthropic}")
    yield from ([f"  {CROWD}: {{provider: openai}}"] if crowd else [])
    yield from ("issuers:", "  ci: {preset: ci, audience: keybroker}")
    for number in range(1, issuers):
        url = f"https://issuer-{number}.example"
        yield f'  issuer-{number}: {{url: "{url}", audience: keybroker, algorithms: [ES256]}}'
    yield "grants:"
    yield from _grant("one", "openai", 'issuer: ci, claims: {repository_owner_id: "9919"}')
    for number in range(crowd):
        yield from _grant(f"crowd-{number}", CROWD, f'issuer: ci, claims: {{repository_id: "{1200 + number}"}}')
    for number in range(grants - 1 - crowd):
        issuer = f"issuer-{number % (issuers - 1) + 1}"
        yield from _grant(f"other-{number}", "openai", f'issuer: {issuer}, claims: {{sub: "workload-{number}"}}')


def _grant(name: str, key: str, to: str) -> tuple[str, ...]:
    return (
        f"  {name}:",
        f"    key: {key}",
        f"    to: {{{to}}}",
        '    scope: ["POST:/v1/chat/completions", "POST:/v1/responses", "GET:/v1/models", "GET:/v1/models/*"]',
        "    quota: {tokens: 100000/hour, calls: [100/minute, 1000/day]}",
    )
