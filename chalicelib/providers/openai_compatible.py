"""The entries of APIs for language models that copy OpenAI's.

Where it is from: what Groq, OpenRouter and Together publish as SDKs (their sources, read in 2026), and the
key prefixes that they publish, as gitleaks and betterleaks match them. `(K)` marks what is general knowledge and was checked
against nothing. Why no detector library: docs/dependencies.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.providers.entry import (
    EPHEMERAL_KEYS,
    FORM,
    RESPONSES,
    STORED_PROMPT,
    TRANSCRIPTIONS,
    ModelEndpoints,
    Probe,
    Provider,
    Sdk,
    account,
    below,
    model_list,
    openai_endpoints,
)

OPENAI_COMPATIBLE: Mapping[str, Provider] = {
    "azure-openai": Provider(
        origin=None,
        header="api-key",
        prefix="",
        token_headers=("api-key", "authorization"),
        paths=(("/openai", "/openai"), ("/v1", "/openai/v1"), ("/deployments", "/openai/deployments")),
        closed=(  # (K) keys and accounts are administered at another host
            *below("/openai/v1", EPHEMERAL_KEYS + " chatkit/sessions vaults webhook_endpoints"),
            *below("/openai", EPHEMERAL_KEYS + " realtimeapi"),
        ),
        overrides=(),
        web_sockets=("/openai/v1/realtime", "/openai/realtime"),
        models=(
            *openai_endpoints("/openai/deployments/{model}"),
            *openai_endpoints("/openai/v1"),
            ModelEndpoints("/openai/v1", RESPONSES, refused=STORED_PROMPT),
            ModelEndpoints("/openai", RESPONSES, refused=STORED_PROMPT),
            model_list("/openai/v1"),
            model_list("/openai"),
        ),
        probe=Probe("GET", "/openai/v1/models"),
        error_text=("error", "message"),
        key_pattern=r"[A-Za-z0-9]{32,84}",
        key_variables=("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_KEY"),
        sdks=(
            Sdk(
                "azure-openai",
                key="AZURE_OPENAI_API_KEY",
                url="AZURE_OPENAI_ENDPOINT",
                # The first wins over the key, the second over the endpoint in Node; the last is LiteLLM's name for the key.
                unset=("AZURE_OPENAI_AD_TOKEN", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS", "AZURE_API_KEY"),
                also=("AZURE_API_BASE",),  # LiteLLM's
                note="Vercel's SDK reads neither: pass them on",
            ),
        ),
    ),
    "groq": Provider(
        origin="https://api.groq.com",
        base_path="/openai/v1",
        # Its own SDK sends /openai/v1 after any base URL, also after ours that ends with it.
        paths=(
            ("/openai/v1/openai/v1", "/openai/v1"),
            ("/openai", "/openai"),
            ("/v1", "/openai/v1"),
            ("", "/openai/v1"),
        ),
        verbs=False,
        closed=account("/openai/v1"),
        overrides=(),
        models=(
            ModelEndpoints("/openai/v1", "chat/completions completions embeddings audio/speech"),
            ModelEndpoints("/openai/v1", TRANSCRIPTIONS, bodies=(FORM,)),
            ModelEndpoints("/openai/v1", "responses", refused=STORED_PROMPT),
            model_list("/openai/v1"),
        ),
        probe=Probe("GET", "/openai/v1/models"),
        error_text=("error", "message"),
        key_pattern=r"gsk_[A-Za-z0-9]{52}",
        sdks=(
            Sdk(
                "groq",
                key="GROQ_API_KEY",
                url="GROQ_BASE_URL",
                unset=("GROQ_CUSTOM_HEADERS",),
                also=("GROQ_API_BASE",),  # LangChain's and LiteLLM's
            ),
        ),
    ),
    "openrouter": Provider(
        origin="https://openrouter.ai",
        base_path="/api/v1",
        paths=(("/api", "/api"), ("/v1", "/api/v1"), ("", "/api/v1")),
        verbs=False,
        closed=(
            *account("/api/v1"),
            *below("/api/v1", "credits guardrails byok scim observability activity analytics"),
            *below("/api/v1", "vault private-endpoints"),  # hold the account's secrets, and other services'
            "/api/frontend",  # (K) what its own pages call
        ),
        overrides=(),
        models=(
            ModelEndpoints("/api/v1", "chat/completions completions embeddings messages"),
            ModelEndpoints("/api/v1", "responses", refused=STORED_PROMPT),
            model_list("/api/v1"),
        ),
        probe=Probe("GET", "/api/v1/key"),  # the list of models needs no key
        error_text=("error", "message"),
        key_pattern=r"sk-or-v1-[0-9a-f]{64}",
        sdks=(
            Sdk(
                "openrouter",
                key="OPENROUTER_API_KEY",
                url="OPENROUTER_BASE_URL",
                unset=("OR_API_KEY",),  # LiteLLM's
                also=("OPENROUTER_API_BASE",),  # LangChain's and LiteLLM's
                note="its SDK for Python reads no base URL: pass it on as `server_url`",
            ),
        ),
    ),
    "together": Provider(
        origin="https://api.together.xyz",
        base_path="/v1",
        # Its own SDK for Python sends the version after any base URL, also after ours that ends with one.
        paths=(("/v1/v1", "/v1"), ("/v1/v2", "/v2"), ("/v1", "/v1"), ("/v2", "/v2"), ("", "/v1")),
        verbs=False,
        closed=(
            *account("/v1"),
            *account("/v2"),
            *below("/v1", "compute whoami"),  # (K) a cluster shows its kube_config
            "/v1/deployments",  # deployments/secrets holds secrets, and a deployment runs with them
        ),
        overrides=(),
        models=(
            ModelEndpoints("/v1", "chat/completions completions embeddings rerank images/generations audio/speech"),
            ModelEndpoints("/v1", TRANSCRIPTIONS, bodies=(FORM,)),
            model_list("/v1"),
        ),
        probe=Probe("GET", "/v1/models"),
        error_text=("error", "message"),
        key_pattern=r"tgp_v1_[\w-]{43}",
        sdks=(
            Sdk(
                "together",
                key="TOGETHER_API_KEY",
                url="TOGETHER_BASE_URL",
                unset=("TOGETHER_CUSTOM_HEADERS", "TOGETHER_PROJECT_ID"),
                also=("TOGETHER_API_BASE", "TOGETHER_AI_API_BASE"),  # LangChain's, LiteLLM's
            ),
        ),
    ),
    "deepseek": Provider(
        origin="https://api.deepseek.com",
        paths=(("/v1", ""),),  # both are served, and are the same
        verbs=False,
        closed=(*account(""), *below("", "user beta/user")),
        overrides=(),
        models=(
            ModelEndpoints("", "chat/completions completions"),
            ModelEndpoints("/beta", "chat/completions completions"),
            ModelEndpoints("/anthropic/v1", "messages"),
            model_list(""),
        ),
        probe=Probe("GET", "/models"),
        error_text=("error", "message"),
        key_pattern=r"sk-[a-f0-9]{32}",
        key_variables=("DEEPSEEK_API_KEY",),
        sdks=(Sdk("deepseek", key="DEEPSEEK_API_KEY", url="DEEPSEEK_API_BASE"),),  # LangChain's and LiteLLM's
    ),
    "xai": Provider(
        origin="https://api.x.ai",
        base_path="/v1",
        paths=(("/v1", "/v1"), ("", "/v1")),
        verbs=False,
        closed=(*account("/v1"), *below("/v1", EPHEMERAL_KEYS)),
        overrides=(),
        web_sockets=("/v1/realtime",),
        models=(
            ModelEndpoints("/v1", "chat/completions completions embeddings messages images/generations"),
            ModelEndpoints("/v1", "responses", refused=STORED_PROMPT),
            model_list("/v1"),
        ),
        probe=Probe("GET", "/v1/api-key"),
        error_text=("error", "message"),
        key_pattern=r"xai-[\w-]{70,120}",
        sdks=(
            Sdk(
                "xai",
                key="XAI_API_KEY",
                url="XAI_API_BASE",  # LangChain's and LiteLLM's
                note="xai-sdk reads no address and speaks gRPC, which the edge does not",
            ),
        ),
    ),
}
