"""While one practises, a key of every preset goes to the practice provider, which takes it at that provider's own paths."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from chalicelib.providers import paths
from chalicelib.providers.presets import PROVIDERS
from tests.running import Running, call, start

CHAT = {
    name: path
    for name, one in PROVIDERS.items()
    if (path := paths.to_provider_form(f"{one.base_path}/chat/completions", one.paths)).removesuffix(
        "/chat/completions"
    )
    in one.openai_bases()
}
"""Where those have a completion that OpenAI's SDK finds by the base URL which came with the token."""


def anything(name: str) -> str:
    """A path of no meaning, as this provider itself would write it."""
    return paths.to_provider_form("/any/thing", PROVIDERS[name].paths)


@pytest.fixture(scope="module")
def practising() -> Iterator[Running]:
    lines = "".join(f"  {name}: {{provider: {name}}}\n" for name in PROVIDERS)
    grants = "".join(
        f"""\
  of-{name}:
    key: {name}
    to: {{issuer: practice, claims: {{repository_owner_id: "9919"}}}}
    scope: {json.dumps([f"POST:{CHAT.get(name, '/x')}", f"POST:{anything(name)}"])}
    quota: {{tokens: 1000/hour, calls: [1000/minute]}}
"""
        for name in PROVIDERS
    )
    policy = f"keys:\n{lines}issuers:\n  practice: {{preset: practice, audience: keybroker}}\ngrants:\n{grants}"
    with start(policy=policy) as one:
        yield one


@pytest.mark.parametrize("name", CHAT)
def test_sdk_works_with_the_returned_base_url(practising: Running, name: str) -> None:
    """OpenAI's SDK works with the base URL that came with the token."""
    issued = practising.exchange(practising.mint(), audience=name).json
    with openai.OpenAI(base_url=issued["base_url"], api_key=issued["access_token"], max_retries=0) as client:
        done = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert (done.choices[0].message.content or "").startswith("A key that lives for minutes")


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVIDERS)
def test_every_presets_key_is_accepted(practising: Running, name: str) -> None:
    """The provider gets every preset's key, and never the token."""
    token = practising.token(audience=name)
    call("DELETE", f"{practising.provider}/_seen")
    answer = practising.complete(token, f"/{name}/any/thing")
    assert (answer.status, answer.json["path"]) == (200, anything(name))
    (seen,) = call("GET", f"{practising.provider}/_seen").json["seen"]
    assert token not in json.dumps(seen)
    assert seen["headers"][PROVIDERS[name].header].startswith(f"{PROVIDERS[name].prefix}sk-practice-{name}-")
