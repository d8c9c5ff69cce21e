// Vercel's AI SDK with its Anthropic provider.

import { anthropic, createAnthropic } from "@ai-sdk/anthropic";
import { generateText, streamText } from "ai";

import { HELLO, MODELS, WORDS, run, version } from "./steps.mjs";
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

async function plain(model) {
  return (await generateText({ model, messages: HELLO, maxOutputTokens: 64 })).text;
}

async function* streamed(model) {
  let fault;
  const { textStream } = streamText({ model, messages: HELLO, maxOutputTokens: WORDS, onError: ({ error }) => (fault = error) });
  yield* textStream;
  if (fault) throw fault;
}

await run(`${version("ai")}, ${version("@ai-sdk/anthropic")}`, { fixed, refreshed, bare }, { plain, streamed });
