"""The demo's first half: a CI job gets a token, uses it and runs into its limits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import openai

import keybroker
from local.demo.check import CheckFailedError, check
from local.demo.console import mask
from local.demo.server import CALLS_A_DAY
from local.demo.state import AUDIENCE, MODEL, DemoState, claims, http

_PROVIDER_KEY = "Bearer sk-practice-openai-"


def get_identity_token(state: DemoState) -> str:
    """1: the identity token that CI gives to each job."""
    console = state.console
    console.paragraph(
        "GitHub gives each job a token that says which repository and branch it runs"
        " for. Here the practice issuer stands in for GitHub's runner endpoint."
    )
    state.identity_token = state.fetch_identity_token()
    request_token = mask(state.server.request_token)
    console.request(f"GET /_runner/token?audience={AUDIENCE} (authorization: Bearer {request_token})")
    console.response(f'200 {{"value": "{mask(state.identity_token)}"}}, with the claims:')
    found = claims(state.identity_token)
    shown = ("iss", "aud", "repository", "repository_id", "repository_owner_id", "ref", "event_name")
    console.fields({**{name: found[name] for name in shown}, "lifetime": f"{found['exp'] - found['iat']} s"})
    check("the audience of the identity token", found["aud"], AUDIENCE)
    return "the job can prove who it is, and holds no key"


def exchange(state: DemoState) -> str:
    """2: the identity token is exchanged for a broker token."""
    console = state.console
    console.paragraph("The broker verifies it, finds the grant that matches, counts it and signs a token.")
    console.request(f"POST /token audience=openai, subject_token={mask(state.identity_token)} (RFC 8693)")
    issued = state.exchange(state.identity_token)
    state.token, state.base_url = issued.access_token, issued.base_url
    state.received += [issued.access_token, issued.base_url, issued.scope]
    console.response(f"200 access_token={mask(issued.access_token)}, expires_in={issued.expires_in}, with the claims:")
    found = claims(issued.access_token)
    state.principal = str(found["sub"])
    epochs = f"{found['ep']} (everything, issuer, key, grant, principal)"
    console.fields({**{name: found[name] for name in ("sub", "aud", "grant", "scope")}, "epochs": epochs})
    check("the token's audience and grant", (found["aud"], found["grant"]), ("openai", "ci"))
    check("the token's lifetime in seconds", found["exp"] - found["iat"], 900)
    return "a token for one key, one grant and one endpoint, for 15 minutes"


def stream(state: DemoState) -> str:
    """3: a streamed completion through the edge, with the unmodified SDK."""
    console = state.console
    console.paragraph(f"OpenAI's own SDK {openai.__version__}, unmodified but for two settings:")
    console.fields({"base_url": state.base_url, "api_key": mask(state.token)})
    console.request(f"POST /openai/v1/chat/completions (model={MODEL}, stream=true)")
    started, first, count = 0.0, 0.0, 0

    def chunks() -> Iterator[str]:
        nonlocal started, first, count
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Explain it."}]
        with _client(state) as client:
            started = time.perf_counter()
            completion = client.chat.completions.create(model=MODEL, messages=messages, stream=True)
            state.received.append(str(completion.response.headers))
            for chunk in completion:
                state.received.append(chunk.model_dump_json())
                text = chunk.choices[0].delta.content if chunk.choices else None
                if text:
                    first, count = first or time.perf_counter(), count + 1
                    yield text

    console.response("200 text/event-stream, word by word:")
    console.stream(chunks())
    if count < 3:
        raise CheckFailedError(f"the stream: expected several words, found {count}")
    return f"{count} chunks, the first after {(first - started) * 1000:.0f} ms"


def compare_keys(state: DemoState) -> str:
    """4: what the provider received, and what the job held."""
    console = state.console
    console.paragraph("The edge replaced the token with the real key. The provider reports what it received:")
    console.request("GET /_seen (at the practice provider)")
    response = http("GET", f"{state.server.provider}/_seen")
    call = json.loads(response.body)["seen"][-1]
    credential = str(call["headers"].get("authorization", ""))
    key = credential.removeprefix("Bearer ")
    console.response(f"200 {call['method']} {call['path']}")
    console.fields({"the provider saw": mask(key), "the job held": mask(state.token)})
    check("the call that the provider saw", (call["method"], call["path"]), ("POST", "/v1/chat/completions"))
    check("a real key at the provider", credential.startswith(_PROVIDER_KEY), expected=True)
    check("the job's token at the provider", state.token in response.body.decode(), expected=False)
    check("the real key in anything the job received", key in "\n".join(state.received), expected=False)
    return f"the key was in none of the {len(state.received)} values that the job received"


def replay(state: DemoState) -> str:
    """5: the same identity token again."""
    console = state.console
    console.paragraph("Someone copied the job's identity token from a log and tries it again.")
    console.request(f"POST /token audience=openai, subject_token={mask(state.identity_token)}")
    try:
        state.exchange(state.identity_token)
    except keybroker.Refused as refused:
        console.response(f"{refused.status} {refused}")
        check("the refusal", (refused.status, refused.error), (400, "invalid_grant"))
        state.request_ids["replayed"] = refused.request_id
        return "an identity token can be exchanged only once"
    raise CheckFailedError("the second use of an identity token was not refused")


def use_up_quota(state: DemoState) -> str:
    """6: calls until the quota is used up."""
    console = state.console
    console.paragraph(f"The grant allows {CALLS_A_DAY} calls a day; the stream was the first.")
    admitted = 1
    with _client(state) as client:
        console.request("POST /openai/v1/chat/completions, repeatedly")
        while admitted <= 2 * CALLS_A_DAY:
            try:
                client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "And again."}])
            except openai.RateLimitError as refused:
                _show_quota_refusal(state, refused, admitted + 1)
                break
            admitted += 1
            console.response(f"call {admitted}: 200")
    check("calls admitted", admitted, CALLS_A_DAY)
    return f"exactly {CALLS_A_DAY} calls were admitted"


def _show_quota_refusal(state: DemoState, refused: openai.RateLimitError, number: int) -> None:
    wait = int(refused.response.headers.get("retry-after", "0"))
    resets = time.strftime("%d %B, %H:%M UTC", time.gmtime(round((time.time() + wait) / 60) * 60))
    retry = refused.response.headers.get("x-should-retry")
    state.console.response(f"call {number}: 429 (retry-after: {wait}, x-should-retry: {retry})")
    state.console.paragraph(f"The quota resets on {resets}. What the SDK's user sees:")
    state.console.paragraph(f"openai.RateLimitError: {refused.message}")
    check("the refusal", refused.code, "quota_exceeded")
    check("a Retry-After within the day", 0 < wait <= 86400, expected=True)


def _client(state: DemoState) -> openai.OpenAI:
    return openai.OpenAI(base_url=state.base_url, api_key=state.token)
