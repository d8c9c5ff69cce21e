// Vercel's AI SDK with its Anthropic provider.

import { anthropic, createAnthropic } from "@ai-sdk/anthropic";

import { calls } from "./ai_calls.mjs";
import { MODELS, run, version } from "./steps.mjs";
import { token } from "./token.mjs";

function fixed(baseURL, authToken) {
  return createAnthropic({ baseURL, authToken })(MODELS.anthropic);
}

function refreshed(baseURL) {
  return createAnthropic({ baseURL, authToken: () => token("anthropic") })(MODELS.anthropic);
}

function bare() {
  return anthropic(MODELS.anthropic);
}

await run(`${version("ai")}, ${version("@ai-sdk/anthropic")}`, { fixed, refreshed, bare }, calls);
