"""The demo's first half: a CI job gets a token, uses it, and meets its limits."""

from __future__ import annotations

import time
from collections.abc import Iterator

import openai

import keybroker
from local.demo import http_call
from local.demo.check import StepFailed, expect
from local.demo.console import mask
from local.demo.server import CALLS_A_DAY
from local.demo.state import AUDIENCE, MODEL, Scene, claims

_KEY_PREFIX = "Bearer sk-practice-openai-"


def identify(scene: Scene) -> str:
    """1: the identity token that CI gives to each job."""
    tell = scene.narrator
    tell.say(
        "GitHub gives each job a token that says which repository and branch it runs"
        " for. Here the practice issuer plays GitHub, with its runners' endpoint."
    )
    scene.identity_token = scene.ask_runner()
    tell.sent(f"GET /_runner/token?audience={AUDIENCE} (authorization: Bearer {mask(scene.stage.request_token)})")
    tell.answered(f'200 {{"value": "{mask(scene.identity_token)}"}}, which says:')
    said = claims(scene.identity_token)
    shown = ("iss", "aud", "repository", "repository_id", "repository_owner_id", "ref", "event_name")
    tell.facts({**{name: said[name] for name in shown}, "lifetime": f"{said['exp'] - said['iat']} s"})
    expect("the audience that the job asked for", said["aud"], AUDIENCE)
    return "the job can prove who it is, and holds no key"


def exchange(scene: Scene) -> str:
    """2: identity token in, Keybroker's token out."""
    tell = scene.narrator
    tell.say("The broker verifies it, finds the grant that admits it, counts, and signs.")
    tell.sent(f"POST /token audience=openai, subject_token={mask(scene.identity_token)} (RFC 8693)")
    issued = keybroker.exchange_token(scene.stage.broker, scene.identity_token, "openai")
    scene.token, scene.base_url = issued.access_token, issued.base_url
    scene.heard += [issued.access_token, issued.base_url, issued.scope]
    tell.answered(f"200 access_token={mask(issued.access_token)}, expires_in={issued.expires_in}; it says:")
    said = claims(issued.access_token)
    scene.sub = str(said["sub"])
    epochs = f"{said['ep']} (everything, issuer, key, grant, principal)"
    tell.facts({**{name: said[name] for name in ("sub", "aud", "grant", "scope")}, "epochs": epochs})
    expect("what the token is for", (said["aud"], said["grant"]), ("openai", "ci"))
    expect("seconds the token lives", said["exp"] - said["iat"], 900)
    return "a token for one key, one grant and one endpoint, for 15 minutes"


def stream(scene: Scene) -> str:
    """3: a streamed completion through the edge, with the unmodified SDK."""
    tell = scene.narrator
    tell.say(f"OpenAI's own SDK {openai.__version__}, unmodified but for two settings:")
    tell.facts({"base_url": scene.base_url, "api_key": mask(scene.token)})
    tell.sent(f"POST /openai/v1/chat/completions (model={MODEL}, stream=true)")
    began, first, words = 0.0, 0.0, 0

    def pieces() -> Iterator[str]:
        nonlocal began, first, words
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Explain it."}]
        with _client(scene.token, scene) as client:
            began = time.perf_counter()
            answers = client.chat.completions.create(model=MODEL, messages=messages, stream=True)
            scene.heard.append(str(answers.response.headers))
            for chunk in answers:
                scene.heard.append(chunk.model_dump_json())
                text = chunk.choices[0].delta.content if chunk.choices else None
                if text:
                    first, words = first or time.perf_counter(), words + 1
                    yield text

    tell.answered("200 text/event-stream, word by word:")
    tell.words(pieces())
    if words < 3:
        raise StepFailed(f"the stream: expected several words, found {words}")
    return f"{words} pieces, the first after {(first - began) * 1000:.0f} ms"


def compare(scene: Scene) -> str:
    """4: what the provider saw, and what the job held."""
    tell = scene.narrator
    tell.say("The edge took the token off and put the real key on. So says the provider:")
    tell.sent("GET /_seen (at the practice provider)")
    answer = http_call.call("GET", f"{scene.stage.provider}/_seen")
    expect("the provider's report", answer.status, 200)
    call = answer.json["seen"][-1]
    credential = str(call["headers"].get("authorization", ""))
    key = credential.removeprefix("Bearer ")
    tell.answered(f"200 {call['method']} {call['path']}")
    tell.facts({"the provider saw": mask(key), "the job held": mask(scene.token)})
    expect("the call that the provider saw", (call["method"], call["path"]), ("POST", "/v1/chat/completions"))
    expect("a real key at the provider", credential.startswith(_KEY_PREFIX), wanted=True)
    expect("the job's token at the provider", scene.token in answer.body.decode(), wanted=False)
    expect("the real key in anything the job got", key in "\n".join(scene.heard), wanted=False)
    return f"the key was in none of the {len(scene.heard)} things that the job got back"


def replay(scene: Scene) -> str:
    """5: the same identity token again."""
    tell = scene.narrator
    tell.say("Someone copied the job's identity token from a log and tries it once more.")
    tell.sent(f"POST /token audience=openai, subject_token={mask(scene.identity_token)}")
    try:
        keybroker.exchange_token(scene.stage.broker, scene.identity_token, "openai")
    except keybroker.Refused as refused:
        tell.answered(f"{refused.status} {refused}")
        expect("the refusal", (refused.status, refused.error), (400, "invalid_grant"))
        scene.request_ids["replayed"] = refused.request_id
        return "an identity token is worth one token, once"
    raise StepFailed("the second use of an identity token was not refused")


def use_up(scene: Scene) -> str:
    """6: calls until the quota says stop."""
    tell = scene.narrator
    tell.say(f"The grant allows {CALLS_A_DAY} calls a day; the stream was the first.")
    admitted = 1
    with _client(scene.token, scene) as client:
        tell.sent("POST /openai/v1/chat/completions, again and again")
        while admitted <= 2 * CALLS_A_DAY:
            try:
                client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "And again."}])
            except openai.RateLimitError as refused:
                _tell_quota(scene, refused, admitted + 1)
                break
            admitted += 1
            tell.answered(f"call {admitted}: 200")
    expect("calls admitted", admitted, CALLS_A_DAY)
    return f"{CALLS_A_DAY} calls were admitted, not one more"


def _tell_quota(scene: Scene, refused: openai.RateLimitError, number: int) -> None:
    wait = int(refused.response.headers.get("retry-after", "0"))
    opens = time.strftime("%d %B, %H:%M UTC", time.gmtime(round((time.time() + wait) / 60) * 60))
    retry = refused.response.headers.get("x-should-retry")
    scene.narrator.answered(f"call {number}: 429 (retry-after: {wait}, x-should-retry: {retry})")
    scene.narrator.say(f"It opens again on {opens}. What the SDK's user sees:")
    scene.narrator.say(f"openai.RateLimitError: {refused.message}")
    expect("the refusal", refused.code, "quota_exceeded")
    expect("a time to wait within the day", 0 < wait <= 86400, wanted=True)


def _client(token: str, scene: Scene) -> openai.OpenAI:
    return openai.OpenAI(base_url=scene.base_url, api_key=token)
