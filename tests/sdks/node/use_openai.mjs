// OpenAI's SDK for Node.

import OpenAI from "openai";

import { HELLO, MODELS, WORDS, run, version } from "./steps.mjs";
import { token } from "./token.mjs";

const model = MODELS.openai;

function fixed(baseURL, apiKey) {
  return new OpenAI({ baseURL, apiKey });
}

function refreshed(baseURL) {
  return new OpenAI({ baseURL, apiKey: () => token("openai") });
}

function bare() {
  return new OpenAI();
}

async function plain(client) {
  const done = await client.chat.completions.create({ model, messages: HELLO });
  return done.choices[0].message.content;
}

async function* streamed(client) {
  const events = await client.chat.completions.create({ model, messages: HELLO, max_tokens: WORDS, stream: true });
  for await (const event of events) yield event.choices[0].delta.content;
}

await run(version("openai"), { fixed, refreshed, bare }, { plain, streamed });
