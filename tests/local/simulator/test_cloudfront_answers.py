"""What comes back from a provider: its own addresses, answers before the body is sent, connections that had ended."""

from __future__ import annotations

import asyncio

from tests.edge_door import ask, door, head, sending_to, talk
from tests.raw_provider import Seen, raw_provider


def test_a_providers_own_addresses_become_the_edges() -> None:
    """A redirect and a next page stay on the edge, below the key."""
    made: list[str] = []

    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        lines = (f"Location: {made[0]}/a", f'link: <{made[0]}/b>; rel="next", <https://x.example/b>; rel="help"')
        writer.write(head("HTTP/1.1 302 Found", *lines, "Content-Length: 0"))
        return True

    async def run() -> list[str]:
        async with asyncio.timeout(20), raw_provider(answer) as provider:
            made.append(provider.origin)
            async with door(sending_to(provider.port), url="https://edge.example") as port:
                lines, _ = await talk(port, ask("GET /github/x"))
        return lines

    lines = asyncio.run(run())
    assert "Location: https://edge.example/github/a" in lines
    assert 'link: <https://edge.example/github/b>; rel="next", <https://x.example/b>; rel="help"' in lines
