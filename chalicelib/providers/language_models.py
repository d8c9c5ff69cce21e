"""The entries of APIs for language models that have a form of their own.

Where it is from: what OpenAI, Anthropic, Google, Mistral and Cohere publish as SDKs (their sources, read in 2026), and the
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
    ModelEndpoints,
    Probe,
    Provider,
    Sdk,
    account,
    below,
    model_list,
    openai_endpoints,
)

# The last two are LangChain's and LiteLLM's own names for the base URL, which win over the SDK's.
_ANTHROPIC_UNSET = ("ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_PROFILE", "ANTHROPIC_API_URL", "ANTHROPIC_API_BASE")


def _gemini(base: str) -> tuple[ModelEndpoints, ...]:
    verbs = ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")
    return (
        ModelEndpoints(base, " ".join(f"models/{{model}}:{verb}" for verb in verbs), prefix="models/"),
        model_list(base),
    )


LANGUAGE_MODELS: Mapping[str, Provider] = {
    "openai": Provider(
        origin="https://api.openai.com",
        base_path="/v1",
        paths=(("/v1", "/v1"), ("", "/v1")),
        verbs=False,  # a fine-tuned model is ft:gpt-4o-mini:acme::AbC123
        closed=(
            *account("/v1"),
            *below("/v1", EPHEMERAL_KEYS + " chatkit/sessions projects dashboard usage vaults webhook_endpoints"),
            "/v1/fine_tuning/checkpoints/*/permissions",
        ),
        overrides=(),
        web_sockets=("/v1/realtime",),
        models=(
            *openai_endpoints("/v1"),
            ModelEndpoints("/v1", "moderations decisions"),
            ModelEndpoints("/v1", "images/variations", bodies=(FORM,)),
            ModelEndpoints("/v1", RESPONSES, refused=STORED_PROMPT),
            model_list("/v1"),
        ),
        probe=Probe("GET", "/v1/models"),
        error_text=("error", "message"),
        key_pattern=r"sk-(?:(?:proj|svcacct|admin)-[\w-]{20,80}|[A-Za-z0-9]{20})T3BlbkFJ[\w-]{20,80}",
        sdks=(
            Sdk(
                "openai",
                key="OPENAI_API_KEY",
                url="OPENAI_BASE_URL",
                # LangChain's own name for the base URL, headers that would replace ours, and names of other accounts.
                unset=(
                    "OPENAI_API_BASE",
                    "OPENAI_CUSTOM_HEADERS",
                    "OPENAI_ORG_ID",
                    "OPENAI_ORGANIZATION",
                    "OPENAI_PROJECT_ID",
                    "OPENAI_ADMIN_KEY",
                ),
            ),
        ),
    ),
    "anthropic": Provider(
        origin="https://api.anthropic.com",
        header="x-api-key",
        prefix="",
        token_headers=("x-api-key", "authorization"),
        paths=(("/v1", "/v1"), ("", "/v1")),  # Vercel's AI SDK ends its base URL with /v1, and others send /messages
        closed=(
            *account("/v1"),
            *below("/v1", "vaults tunnels environments/*/work"),  # tunnels and work answer secrets
            "/v1/compliance",  # (K) what all users of the account wrote
            *below("/v1/user_profiles/*", "enrollment_url action_urls"),
        ),
        overrides=(),
        models=(ModelEndpoints("/v1", "messages messages/count_tokens complete"), model_list("/v1")),
        probe=Probe("GET", "/v1/models", (("anthropic-version", "2023-06-01"),)),
        error_text=("error", "message"),
        key_pattern=r"sk-ant-(?:api|admin)\d{2}-[\w-]{80,120}",
        sdks=(
            Sdk(
                "anthropic",
                key="ANTHROPIC_API_KEY",
                url="ANTHROPIC_BASE_URL",
                unset=("ANTHROPIC_AUTH_TOKEN", *_ANTHROPIC_UNSET),
            ),
            Sdk(
                "claude-code",
                key="ANTHROPIC_AUTH_TOKEN",
                url="ANTHROPIC_BASE_URL",
                unset=("ANTHROPIC_API_KEY", *_ANTHROPIC_UNSET),
            ),
        ),
    ),
    "gemini": Provider(
        origin="https://generativelanguage.googleapis.com",
        header="x-goog-api-key",
        prefix="",
        token_headers=("x-goog-api-key", "authorization"),
        token_parameter="key",  # noqa: S106  a parameter's name
        # LiteLLM sends no version; (K) v1beta has all that it sends, v1 has not.
        paths=(
            *((version, version) for version in ("/v1", "/v1beta", "/v1alpha", "/upload", "/download")),
            ("", "/v1beta"),
        ),
        # auth_tokens (authTokens in Google's own clients) answers keys for browsers, webhooks their signing secrets.
        closed=tuple(
            f"/{version}/{name}"
            for version in ("v1", "v1beta", "v1alpha")
            for name in ("auth_tokens", "webhooks", "tunedModels/*/permissions", "corpora/*/permissions")
        ),
        overrides=(),
        models=(
            *_gemini("/v1beta"),
            *_gemini("/v1"),
            *_gemini("/v1alpha"),
            ModelEndpoints("/v1beta/openai", "chat/completions embeddings", prefix="models/"),
        ),
        probe=Probe("GET", "/v1beta/models"),
        error_text=("error", "message"),
        key_pattern=r"AIza[\w-]{35}",
        sdks=(
            Sdk(
                "gemini",
                key="GEMINI_API_KEY",
                url="GOOGLE_GEMINI_BASE_URL",
                unset=("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"),
                also=("GEMINI_API_BASE",),  # LiteLLM's
            ),
        ),
    ),
    "mistral": Provider(
        origin="https://api.mistral.ai",
        paths=(("/v1", "/v1"), ("/v2", "/v2"), ("", "/v1")),  # its own SDK sends /v1, OpenAI's does not
        verbs=False,  # as OpenAI's
        closed=(
            *account("/v1"),
            *below("/v1/connectors/*", "auth_url organization user workspace"),
            "/v1/libraries/*/share",  # lets others in
            "/v1/workflows/workers",  # what a worker needs to be one
        ),
        overrides=(),
        models=(
            ModelEndpoints("/v1", "chat/completions fim/completions embeddings moderations chat/moderations ocr"),
            ModelEndpoints("/v1", "audio/transcriptions", bodies=(FORM,)),
            model_list("/v1"),
        ),
        probe=Probe("GET", "/v1/models"),
        error_text=("message",),  # (K) for some faults a list, `detail`, instead
        key_pattern=r"[A-Za-z0-9]{32}",
        key_variables=("MISTRAL_API_KEY",),
        sdks=(
            Sdk(
                "mistral",
                key="MISTRAL_API_KEY",
                url="MISTRAL_BASE_URL",  # LangChain reads it
                unset=("MISTRAL_SA_TOKEN_PATH",),
                also=("MISTRAL_API_BASE",),  # LiteLLM's
                ours=True,
                note="mistralai reads no base URL: pass it on as `server_url`",
            ),
        ),
    ),
    "bedrock": Provider(
        origin=None,  # each region has its own: https://bedrock-runtime.us-east-1.amazonaws.com
        verbs=False,  # a model's id may end in `:0`
        closed=(
            "/async-invoke",  # writes to any bucket that its caller names
            *below("", "api-keys service-specific-credentials"),
        ),
        overrides=(),
        models=(
            ModelEndpoints(
                "/model", "{model}/invoke {model}/invoke-with-response-stream {model}/converse {model}/converse-stream"
            ),
            ModelEndpoints("/model", "{model}/count-tokens"),
            ModelEndpoints("/openai/v1", "chat/completions"),
        ),
        error_text=("message",),
        key_pattern=r"(?:ABSK|bedrock-api-key-)[A-Za-z0-9+/]{64,}={0,2}",
    ),
    "cohere": Provider(
        origin="https://api.cohere.com",
        closed=(
            *account("/v1"),
            *account("/v2"),
            *below("/v1", "connectors check-api-key"),  # connectors hold the credentials of other services
        ),
        overrides=(),
        models=(
            ModelEndpoints("/v2", "chat embed rerank"),
            ModelEndpoints("/compatibility/v1", "chat/completions embeddings"),
            model_list("/v1"),
        ),
        probe=Probe("GET", "/v1/models"),
        error_text=("message",),
        key_pattern=r"[A-Za-z0-9]{40}",
        key_variables=("CO_API_KEY", "COHERE_API_KEY"),
        sdks=(
            Sdk(
                "cohere",
                key="CO_API_KEY",
                url="CO_API_URL",
                unset=("COHERE_API_KEY",),
                # SECURITY: LiteLLM reads the key and not CO_API_URL: without this its chats take our token to Cohere
                # (test_litellms_cohere_stays_on_the_edge).
                also=("COHERE_API_BASE",),
                note="LiteLLM wants `api_base`, the URL with `/v2/chat`; its embeddings and reranking read no address, and "
                "without `api_base` send the token to Cohere itself",
            ),
        ),
    ),
}
