"""The demo's second half: a security engineer takes access back, gives it again, and reads the trail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import openai
from openai.types.chat import ChatCompletionMessageParam

import keybroker
from local.demo.check import StepFailed, expect
from local.demo.console import mask
from local.demo.state import MODEL, Scene, claims

_REASON = "leaked in a log"
_TRAIL = [
    ("token.issued", ""),
    ("token.refused", "replayed"),
    ("token.issued", ""),
    ("revocation.made", ""),
    ("token.refused", "revoked_principal"),
    ("revocation.lifted", ""),
    ("token.issued", ""),
]


def revoke(scene: Scene) -> str:
    """7: one principal is taken out; the very next call is refused."""
    tell = scene.narrator
    tell.say("The repository's release job, admitted by a grant of its own, is at work.")
    scene.release_token = keybroker.exchange_token(
        scene.stage.broker, scene.ask_runner_of_release(), "openai"
    ).access_token
    expect("the release job's grant", claims(scene.release_token)["grant"], "release")
    with _client(scene, scene.release_token) as job:
        _list_models(scene, job)
        tell.say("A security engineer takes the repository out, whatever its grants:")
        acknowledged = _take_out(scene)
        tell.sent("GET /openai/v1/models, the very next call")
        refused = _refusal(job.models.list)
        after = (time.perf_counter() - acknowledged) * 1000
    tell.answered(_said(refused))
    expect("the next call", (refused.status_code, refused.code), (403, "revoked"))
    scene.request_ids["revoked"] = str(refused.response.headers["x-request-id"])
    with _client(scene, scene.token) as other_job:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Once more."}]
        other = _refusal(lambda: other_job.chat.completions.create(model=MODEL, messages=messages))
    expect("the other job's next call", (other.status_code, other.code), (403, "revoked"))
    _refuse_fresh(scene)
    return f"refused {after:.1f} ms after the acknowledgement; so is the job on main"


def _take_out(scene: Scene) -> float:
    """Revoke the principal, and return when that was acknowledged, in seconds of the performance counter."""
    administrator = scene.stage.administrator
    body = {"scope": "principal", "id": scene.sub, "reason": _REASON}
    signed = f"SigV4, {mask(administrator.access_key_id)}"
    scene.narrator.sent(f"POST /admin/revocations ({signed}) {json.dumps(body)}")
    made = administrator.call("POST", "/admin/revocations", body=body)
    acknowledged = time.perf_counter()
    expect("the revocation's status", made.status, 201)
    scene.revocation = str(made.json["id"])
    scene.narrator.answered(f"201, in force: revocation {scene.revocation}")
    return acknowledged


def _refuse_fresh(scene: Scene) -> None:
    scene.narrator.say("A fresh identity token does not help:")
    fresh = scene.ask_runner()
    scene.narrator.sent(f"POST /token audience=openai, subject_token={mask(fresh)}")
    try:
        keybroker.exchange_token(scene.stage.broker, fresh, "openai")
    except keybroker.Refused as refused:
        scene.narrator.answered(f"{refused.status} {refused}")
        expect("the exchange", (refused.status, refused.error), (400, "invalid_grant"))
        return
    raise StepFailed("a revoked principal got a token")


def restore(scene: Scene) -> str:
    """8: the block is lifted; old tokens stay dead."""
    tell = scene.narrator
    tell.say("The leak was a false alarm. The block is lifted:")
    tell.sent(f"DELETE /admin/revocations/{scene.revocation}")
    lifted = scene.stage.administrator.call("DELETE", f"/admin/revocations/{scene.revocation}")
    tell.answered(str(lifted.status))
    expect("the lifting", lifted.status, 200)
    tell.say("The release job's old token stays dead, for its epoch is over:")
    tell.sent(f"GET /openai/v1/models (authorization: Bearer {mask(scene.release_token)})")
    with _client(scene, scene.release_token) as job:
        refused = _refusal(job.models.list)
    tell.answered(_said(refused))
    expect("the old token", (refused.status_code, refused.code), (401, "invalid_token"))
    tell.say("A fresh one works:")
    fresh = keybroker.exchange_token(scene.stage.broker, scene.ask_runner_of_release(), "openai").access_token
    with _client(scene, fresh) as job:
        _list_models(scene, job)
    before, after = claims(scene.release_token)["ep"], claims(fresh)["ep"]
    expect("the principal's epoch", after[4], before[4] + 1)
    return f"the principal's epoch was {before[4]}, now it is {after[4]}"


def read_trail(scene: Scene) -> str:
    """9: what the audit says about all of this."""
    tell = scene.narrator
    tell.say("Each decision left one record, in the transaction of what it records.")
    tell.sent("GET /admin/audit")
    trail = list(reversed(_audit(scene)))
    story = [event for event in trail if not event["kind"].startswith(("policy.", "key."))]
    tell.table(("TIME", "WHAT", "WHO", "WHY", "REQUEST"), [_row(event) for event in story])
    expect("the trail", [(event["kind"], event["reason"]) for event in story], _TRAIL)
    _check_secrets(scene, json.dumps(trail))
    request_id = scene.request_ids["replayed"]
    found = _audit(scene, request_id=request_id)
    tell.say(f"By {request_id[:8]}, as the caller was told: {found[0]['kind']}, {found[0]['reason']}.")
    expect("found by request id", [event["reason"] for event in found], ["replayed"])
    found = _audit(scene, principal=scene.sub, kind="token.issued")
    expect("tokens issued to the principal", len(found), 3)
    tell.say(f"By principal: {len(found)} tokens were issued to {found[0]['principal_name']}.")
    refused = [line for line in _log(scene) if line.get("request_id") == scene.request_ids["revoked"]]
    expect("the refused call in the edge's log", [line["reason"] for line in refused], ["revoked_principal"])
    return "whoever asks gets an answer, and none of it holds a token or a key"


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    at = time.strftime("%H:%M:%S", time.gmtime(event["at"]))
    who = event["actor"].rpartition("/")[2] or event["principal_name"]
    why = event["reason"] or event["detail"].get("why") or (event["grant"] and f"grant {event['grant']}")
    return at, event["kind"], who, why, event["request_id"][:8]


def _audit(scene: Scene, **filters: str) -> list[dict[str, Any]]:
    answer = scene.stage.administrator.call("GET", "/admin/audit", filters)
    expect("the audit's answer", answer.status, 200)
    return list(answer.json["items"])


def _check_secrets(scene: Scene, text: str) -> None:
    secrets = (scene.identity_token, scene.token, scene.release_token, "sk-practice-")
    expect("tokens or keys in the trail", any(secret in text for secret in secrets), wanted=False)


def _log(scene: Scene) -> list[dict[str, Any]]:
    lines = scene.stage.log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _client(scene: Scene, token: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=scene.base_url, api_key=token)


def _list_models(scene: Scene, job: openai.OpenAI) -> None:
    scene.narrator.sent(f"GET /openai/v1/models (authorization: Bearer {mask(job.api_key)})")
    scene.narrator.answered(f"200, {len(job.models.list().data)} models")


def _said(refused: openai.APIStatusError) -> str:
    text = refused.body.get("message", "") if isinstance(refused.body, dict) else refused.message
    return f"{refused.status_code} {refused.code}: {text}"


def _refusal(call: Callable[[], object]) -> openai.APIStatusError:
    """Make a call that must be refused, and return how it was."""
    try:
        call()
    except openai.APIStatusError as refused:
        return refused
    raise StepFailed("a call that had to be refused was admitted")
