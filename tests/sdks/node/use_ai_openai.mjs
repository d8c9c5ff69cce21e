// Vercel's AI SDK with its OpenAI provider.

import { createOpenAI, openai } from "@ai-sdk/openai";

import { calls } from "./ai_calls.mjs";
import { MODELS, run, version } from "./steps.mjs";
import { token } from "./token.mjs";

function fixed(baseURL, apiKey) {
  return createOpenAI({ baseURL, apiKey })(MODELS.openai);
}

function refreshed(baseURL) {
  return createOpenAI({ baseURL, apiKey: () => token("openai") })(MODELS.openai);
}

function bare() {
  return openai(MODELS.openai);
}

await run(`${version("ai")}, ${version("@ai-sdk/openai")}`, { fixed, refreshed, bare }, calls);
