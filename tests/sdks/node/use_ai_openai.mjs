// Vercel's AI SDK with its OpenAI provider.

import { createOpenAI, openai } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";

import { HELLO, MODELS, WORDS, run, version } from "./steps.mjs";
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

async function plain(model) {
  return (await generateText({ model, messages: HELLO, maxOutputTokens: 64 })).text;
}

async function* streamed(model) {
  let fault;
  const { textStream } = streamText({ model, messages: HELLO, maxOutputTokens: WORDS, onError: ({ error }) => (fault = error) });
  yield* textStream;
  if (fault) throw fault;
}

await run(`${version("ai")}, ${version("@ai-sdk/openai")}`, { fixed, refreshed, bare }, { plain, streamed });
