"""The demo's second half: a security engineer revokes access, restores it and reads the audit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import openai
from openai.types.chat import ChatCompletionMessageParam

import keybroker
from keybroker.cli.admin_client import AdminClient
from local.demo.check import CheckFailedError, check
from local.demo.console import mask
from local.demo.state import MODEL, DemoState, claims

_REASON = "leaked in a log"
_EXPECTED_EVENTS = [
    ("token.issued", ""),
    ("token.refused", "replayed"),
    ("token.issued", ""),
    ("revocation.made", ""),
    ("token.refused", "revoked_principal"),
    ("revocation.lifted", ""),
    ("token.issued", ""),
]


def revoke(state: DemoState) -> str:
    """7: one principal is revoked; its very next call is refused."""
    console = state.console
    console.paragraph("The repository's release job is running too, under its own grant.")
    state.release_token = state.exchange(state.fetch_release_identity_token()).access_token
    check("the release job's grant", claims(state.release_token)["grant"], "release")
    with _client(state, state.release_token) as client:
        _list_models(state, client)
        console.paragraph("A security engineer revokes the repository, under every grant:")
        acknowledged = _revoke_principal(state)
        console.request("GET /openai/v1/models, the very next call")
        refused = _refusal(client.models.list)
        after = (time.perf_counter() - acknowledged) * 1000
    console.response(_describe(refused))
    check("the next call", (refused.status_code, refused.code), (403, "revoked"))
    state.request_ids["revoked"] = str(refused.response.headers["x-request-id"])
    with _client(state, state.token) as client:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Once more."}]
        other = _refusal(lambda: client.chat.completions.create(model=MODEL, messages=messages))
    check("the other job's next call", (other.status_code, other.code), (403, "revoked"))
    _check_exchange_is_refused(state)
    return f"refused {after:.1f} ms after the acknowledgement; so is the job on main"


def _revoke_principal(state: DemoState) -> float:
    """Revoke the principal; return the time of the acknowledgement in seconds of the performance counter."""
    body = {"scope": "principal", "id": state.principal, "reason": _REASON}
    signed = f"SigV4, {mask(state.server.admin['AWS_ACCESS_KEY_ID'])}"
    state.console.request(f"POST /admin/revocations ({signed}) {json.dumps(body)}")
    response = _admin(state).call("POST", "/admin/revocations", body=body)
    acknowledged = time.perf_counter()
    state.revocation = str(response.body["id"])
    state.console.response(f"in force: revocation {state.revocation}")
    return acknowledged


def _check_exchange_is_refused(state: DemoState) -> None:
    state.console.paragraph("A new identity token does not help:")
    identity_token = state.fetch_identity_token()
    state.console.request(f"POST /token audience=openai, subject_token={mask(identity_token)}")
    try:
        state.exchange(identity_token)
    except keybroker.Refused as refused:
        state.console.response(f"{refused.status} {refused}")
        check("the exchange", (refused.status, refused.error), (400, "invalid_grant"))
        return
    raise CheckFailedError("a revoked principal got a token")


def restore(state: DemoState) -> str:
    """8: access is restored; tokens from before the revocation stay refused."""
    console = state.console
    console.paragraph("The leak was a false alarm. Access is restored:")
    console.request(f"DELETE /admin/revocations/{state.revocation}")
    _admin(state).call("DELETE", f"/admin/revocations/{state.revocation}")
    console.response("restored")
    console.paragraph("The release job's old token stays dead, since its epoch is out of date:")
    console.request(f"GET /openai/v1/models (authorization: Bearer {mask(state.release_token)})")
    with _client(state, state.release_token) as client:
        refused = _refusal(client.models.list)
    console.response(_describe(refused))
    check("the old token", (refused.status_code, refused.code), (401, "invalid_token"))
    console.paragraph("A new one works:")
    renewed = state.exchange(state.fetch_release_identity_token()).access_token
    with _client(state, renewed) as client:
        _list_models(state, client)
    before, after = claims(state.release_token)["ep"], claims(renewed)["ep"]
    check("the principal's epoch", after[4], before[4] + 1)
    return f"the principal's epoch was {before[4]}; now it is {after[4]}"


def read_audit(state: DemoState) -> str:
    """9: what the audit has recorded of all this."""
    console = state.console
    console.paragraph("Each decision wrote one event, in the same transaction as its effect.")
    console.request("GET /admin/audit")
    events = list(reversed(_audit(state)))
    shown = [event for event in events if not event["kind"].startswith(("policy.", "key."))]
    console.table(("TIME", "WHAT", "WHO", "WHY", "REQUEST"), [_row(event) for event in shown])
    check("the events", [(event["kind"], event["reason"]) for event in shown], _EXPECTED_EVENTS)
    secrets = (state.identity_token, state.token, state.release_token, "sk-practice-")
    text = json.dumps(events)
    check("tokens or keys in the events", any(secret in text for secret in secrets), expected=False)
    request_id = state.request_ids["replayed"]
    found = _audit(state, request_id=request_id)
    console.paragraph(
        f"By the refused caller's request ID, {request_id[:8]}: {found[0]['kind']}, {found[0]['reason']}."
    )
    check("found by request id", [event["reason"] for event in found], ["replayed"])
    found = _audit(state, principal=state.principal, kind="token.issued")
    check("tokens issued to the principal", len(found), 3)
    console.paragraph(f"By principal: {len(found)} tokens were issued to {found[0]['principal_name']}.")
    refused = [line for line in _log(state) if line.get("request_id") == state.request_ids["revoked"]]
    check("the refused call in the edge's log", [line["reason"] for line in refused], ["revoked_principal"])
    return "every decision can be looked up; no event holds a token or a key"


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    at = time.strftime("%H:%M:%S", time.gmtime(event["at"]))
    who = event["actor"].rpartition("/")[2] or event["principal_name"]
    why = event["reason"] or event["detail"].get("why") or (event["grant"] and f"grant {event['grant']}")
    return at, event["kind"], who, why, event["request_id"][:8]


def _admin(state: DemoState) -> AdminClient:
    """Return the product's own client; it signs with the AWS credentials that run.py put into the environment."""
    return AdminClient(state.server.broker)


def _audit(state: DemoState, **filters: str) -> list[dict[str, Any]]:
    return list(_admin(state).get("/admin/audit", filters)["items"])


def _log(state: DemoState) -> list[dict[str, Any]]:
    lines = state.server.log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _client(state: DemoState, token: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=state.base_url, api_key=token)


def _list_models(state: DemoState, client: openai.OpenAI) -> None:
    state.console.request(f"GET /openai/v1/models (authorization: Bearer {mask(client.api_key)})")
    state.console.response(f"200, {len(client.models.list().data)} models")


def _describe(refused: openai.APIStatusError) -> str:
    text = refused.body.get("message", "") if isinstance(refused.body, dict) else refused.message
    return f"{refused.status_code} {refused.code}: {text}"


def _refusal(call: Callable[[], object]) -> openai.APIStatusError:
    """Make a call that must be refused; return the SDK's error."""
    try:
        call()
    except openai.APIStatusError as refused:
        return refused
    raise CheckFailedError("a call that should have been refused was admitted")
