"""Whether a call's body has to be read whole before the call is decided. Nothing is counted and nothing is decided here."""

from __future__ import annotations

from chalicelib.edge import token as call_token
from chalicelib.edge.admission import Edge, verify
from chalicelib.edge.call import Call
from chalicelib.edge.door import Request
from chalicelib.edge.running import RunningCall, RunningState
from chalicelib.errors import Refusal
from chalicelib.providers import paths


def needs_whole_body(request: Request, edge: Edge, state: RunningState, now: int) -> bool:
    """Return whether a call would be admitted but for its grant's `models`, as far as that can be told without counting it.

    now: epoch seconds. False where the decision says what is wrong without the body.
    """
    try:
        key, path = paths.split(request.path)
        call = Call(call_token.find(request.headers, request.query), key, request.method, path)
        # SECURITY: a stranger's body is never kept (test_a_stranger_s_body_is_not_kept).
        token = verify(call, edge, now)
        if not paths.scope_may_open(token.scope, call.method, call.path):
            return False
        edge.refusals.check(token, now)
        running = RunningCall(token, key)
        seen = state.see(running.targets().values())
        running.check(seen, now)
    except Refusal:
        return False
    grant = seen.grants.get(token.grant)
    return grant is not None and grant.models is not None
