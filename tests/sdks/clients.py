"""The clients that are tried, in the order of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Client:
    """One SDK, or one way to use it.

    name: as the page has it. section: of the page, which several may share. environment: `.venv-sdk-<it>`, or `node`.
    script: in tests/sdks/python/ or tests/sdks/node/, with its arguments. key: of the policy. path: of the base URL, below
    the edge's. ways: in which it can be opened, all of them tried: `fixed` is given a token; `refreshed` gets its own;
    `proxied` runs below `keybroker exec --proxy`; `exchange` is told by variables to exchange its identity token itself.
    tries: requests at most that it makes for a refusal. shows_pieces: whether its user sees a stream as one.
    """

    name: str
    section: str
    environment: str
    script: tuple[str, ...]
    key: str
    path: str
    ways: tuple[str, ...] = ("fixed", "refreshed", "proxied")
    tries: int = 1
    shows_pieces: bool = True

    @property
    def is_agent(self) -> bool:
        """Whether it is a coding assistant: a program that gets its token from a command."""
        return self.environment in ("claude-code", "codex")


_OPENAI, _ANTHROPIC = ("use_openai",), ("use_anthropic",)
_NO_REFRESH = ("fixed", "proxied")
_ALONE = "anthropic, by environment alone"

CLIENTS = (
    Client("openai 3", "openai", "openai-3", _OPENAI, "openai", "/openai/v1"),
    Client("openai 2", "openai", "openai-2", _OPENAI, "openai", "/openai/v1"),
    Client("openai 1", "openai", "openai-1", _OPENAI, "openai", "/openai/v1"),
    Client("AzureOpenAI", "AzureOpenAI", "openai-3", ("use_azure_openai",), "azure-openai", "/azure-openai"),
    Client("anthropic 2", "anthropic", "anthropic-2", _ANTHROPIC, "anthropic", "/anthropic"),
    Client("anthropic 1", "anthropic", "anthropic-1", _ANTHROPIC, "anthropic", "/anthropic"),
    Client("anthropic 0", "anthropic", "anthropic-0", _ANTHROPIC, "anthropic", "/anthropic"),
    Client("anthropic 2, alone", _ALONE, "anthropic-2", _ANTHROPIC, "anthropic", "/anthropic", ("exchange",)),
    Client("google-genai", "google-genai", "google-genai", ("use_google_genai",), "gemini", "/gemini"),
    Client("mistralai", "mistralai", "mistralai", ("use_mistralai",), "mistral", "/mistral"),
    Client("cohere", "cohere", "cohere", ("use_cohere",), "cohere", "/cohere"),
    Client(
        "langchain-openai", "langchain-openai", "langchain-openai", ("use_langchain_openai",), "openai", "/openai/v1"
    ),
    Client("litellm, openai", "litellm", "litellm", ("use_litellm", "openai"), "openai", "/openai/v1", _NO_REFRESH),
    Client(
        "litellm, anthropic", "litellm", "litellm", ("use_litellm", "anthropic"), "anthropic", "/anthropic", _NO_REFRESH
    ),
    Client("litellm, gemini", "litellm", "litellm", ("use_litellm", "gemini"), "gemini", "/gemini", _NO_REFRESH),
    Client("openai (Node)", "openai (Node)", "node", ("use_openai.mjs",), "openai", "/openai/v1"),
    Client("@anthropic-ai/sdk", "@anthropic-ai/sdk", "node", ("use_anthropic.mjs",), "anthropic", "/anthropic"),
    Client("ai, @ai-sdk/openai", "ai, @ai-sdk/openai", "node", ("use_ai_openai.mjs",), "openai", "/openai/v1"),
    Client(
        "ai, @ai-sdk/anthropic",
        "ai, @ai-sdk/anthropic",
        "node",
        ("use_ai_anthropic.mjs",),
        "anthropic",
        "/anthropic/v1",
    ),
    Client("Claude Code", "Claude Code", "claude-code", ("use_claude_code",), "anthropic", "/anthropic", tries=2),
    Client("Codex", "Codex", "codex", ("use_codex",), "openai", "/openai/v1", tries=7, shows_pieces=False),
)

NOTES: Mapping[str, str] = {
    "openai": "`AsyncOpenAI` takes `provider.async_()` as its `api_key`. The provider is asked before every request, repetitions included.",
    "AzureOpenAI": "A part of openai 3. The endpoint is without `/openai`; scopes name the deployment:\n"
    "`POST:/openai/deployments/DEPLOYMENT/chat/completions`. The provider is good as `azure_ad_token_provider`.",
    "anthropic": "The base URL is without `/v1`. The same `credentials` are good for `AsyncAnthropic`. A 401 brings one fresh token.",
    _ALONE: "No code and no library of ours: Anthropic's SDK exchanges the identity token by itself, at the edge. `FEDERATION_RULE` is the\n"
    "name of the grant; the organisation may be anything. The file is read again for each exchange, so the process that keeps it there, as\n"
    "Kubernetes does, has to replace it before its token ends; an identity token of GitHub is good for one exchange alone.",
    "google-genai": "Some `api_key` has to be there; the auth takes it off. Keep the `Client`: once nothing refers to it, it is closed.\n"
    "Of the variables, `GOOGLE_API_KEY` wins over `GEMINI_API_KEY`. Nothing is repeated unless `retry_options` says so.",
    "mistralai": "It reads no variable for the base URL: `keybroker exec` sets `MISTRAL_BASE_URL` for the program to pass on. Nothing is repeated\n"
    "unless `retry_config` says so.",
    "cohere": "At the end of a day's quota it waits a minute, twice, whatever the answer says; `request_options={'max_retries': 0}` of a call ends that.\n"
    "`CO_API_URL` is read when the module is imported.",
    "langchain-openai": "The provider is good for `ainvoke`, too.",
    "litellm": "It takes no callable, so nothing refreshes in it: what runs longer than a token lives wants `keybroker exec --proxy`. For Gemini it\n"
    "reads another variable than Google's own SDK, `GEMINI_API_BASE`.",
    "openai (Node)": "`token` is the module above, here and below.",
    "@anthropic-ai/sdk": "The base URL is without `/v1`.",
    "ai, @ai-sdk/openai": "At the end of a day's quota it tries three times, whatever the answer says; `maxRetries: 0` of a call ends that.",
    "ai, @ai-sdk/anthropic": "The base URL is with `/v1`, unlike that of Anthropic's own SDK; the edge takes both. Quotas as above.",
    "Claude Code": "The base URL is without `/v1`. Given a token, it is in `ANTHROPIC_AUTH_TOKEN`, and `ANTHROPIC_BASE_URL` has the edge's address. It sends\n"
    "what its helper says in both headers; by its documentation the helper is run again after `CLAUDE_CODE_API_KEY_HELPER_TTL_MS` (five minutes, the shortest life\n"
    "of a token). It looks once with `HEAD` whether the base URL is there, without a token; the 404 does no harm. After a helper that fails it\n"
    "sends the call without a token: the edge's 401 is what its user reads last, and the helper's reason stands before it.\n"
    "Below `keybroker exec --proxy --key anthropic -- claude` it needs no settings. An `apiKeyHelper` does no harm there, but\n"
    "`ANTHROPIC_BASE_URL` in its settings wins over the proxy's; `exec` warns of it ([cli.md](cli.md)). It uses `HTTPS_PROXY` for\n"
    "loopback addresses, too, unless `NO_PROXY` has them, as below `exec --proxy`.",
    "Codex": "It speaks the Responses API alone: the grant opens `POST:/v1/responses`. It runs the auth command when it starts, every\n"
    "`refresh_interval_ms`, and after a 401, and kills it after five seconds (`timeout_ms`), which is why the command ends by itself after four. With an auth command\n"
    "it also asks for `GET /v1/models`; where the grant does not open that, three lines on stderr say so, and it goes on. It tries a call that\n"
    "is refused for good (401, 403) six times within eight seconds, whatever the answer says (`stream_max_retries`), and runs a command that fails\n"
    "up to 25 times; `keybroker token` asks the broker at most three times for them. It waits for the next minute of a quota, and of a day's shows our reason.",
}
"""What else there is to say of a section."""
