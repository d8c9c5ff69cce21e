// What both of the AI SDK's providers are called with.

import { generateText, streamText } from "ai";

import { HELLO, WORDS } from "./steps.mjs";

async function plain(model) {
  return (await generateText({ model, messages: HELLO, maxOutputTokens: 64 })).text;
}

async function* streamed(model) {
  let fault;
  const { textStream } = streamText({ model, messages: HELLO, maxOutputTokens: WORDS, onError: ({ error }) => (fault = error) });
  yield* textStream;
  if (fault) throw fault;
}

export const calls = { plain, streamed };
