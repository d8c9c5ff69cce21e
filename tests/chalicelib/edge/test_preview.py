"""Which calls need their whole body before they are decided."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from chalicelib.edge.door import Request
from chalicelib.edge.headers import Headers
from chalicelib.edge.preview import needs_whole_body
from chalicelib.edge.running import Seen
from chalicelib.errors import StateUnavailable
from chalicelib.revocation import RevocationTarget
from local.sqlite.running_state import SqliteRunningState
from tests.parts import NOW, SUB, Parts, grant, parts_in


def request(token: str, path: str = "/openai/v1/chat/completions") -> Request:
    headers = Headers(("authorization",), ("Authorization",), (f"Bearer {token}",))
    return Request("POST", path, "", headers, "")


def needs(parts: Parts, asked: Request, now: int = NOW) -> bool:
    return needs_whole_body(asked, parts.edge_parts(), SqliteRunningState(parts.state), now)


@pytest.mark.parametrize("limited", [True, False])
def test_a_grant_that_limits_models_needs_it(tmp_path: Path, limited: bool) -> None:  # noqa: FBT001  a case
    """Only where a grant limits models does the body matter; nothing is counted to learn it."""
    with parts_in(tmp_path) as parts:
        parts.apply(grant(models="[gpt-5-mini]") if limited else grant())
        assert needs(parts, request(parts.token())) is limited
        assert parts.counted() == {}


def test_what_is_refused_anyway_needs_none(tmp_path: Path) -> None:
    """A call that is refused for its token, its path or a revocation needs no body."""
    with parts_in(tmp_path) as parts:
        parts.apply(grant(models="[gpt-5-mini]"))
        token = parts.token()
        assert not needs(parts, request("no token"))
        assert not needs(parts, request(""))
        assert not needs(parts, request(token, "/anthropic/v1/messages"))
        assert not needs(parts, request(token, "/openai/v1/files"))
        assert not needs(parts, request(token), NOW + 3600)
        parts.revoke("principal", SUB)
        assert not needs(parts, request(token))


def test_without_the_state_none_is_kept(tmp_path: Path) -> None:
    """Where it cannot be told, the body is not kept, and the decision says why."""

    class Away:
        def see(self, _targets: Collection[RevocationTarget]) -> Seen:
            raise StateUnavailable

    with parts_in(tmp_path) as parts:
        assert not needs_whole_body(request(parts.token()), parts.edge_parts(), Away(), NOW)
