// Anthropic's SDK for Node.

import Anthropic from "@anthropic-ai/sdk";

import { HELLO, MODELS, WORDS, run, version } from "./steps.mjs";
import { token } from "./token.mjs";

const model = MODELS.anthropic;

function fixed(baseURL, apiKey) {
  return new Anthropic({ baseURL, apiKey });
}

function refreshed(baseURL) {
  return new Anthropic({ baseURL, apiKey: () => token("anthropic") });
}

function bare() {
  return new Anthropic();
}

async function plain(client) {
  const message = await client.messages.create({ model, max_tokens: 64, messages: HELLO });
  return message.content[0].text;
}

async function* streamed(client) {
  for await (const event of client.messages.stream({ model, max_tokens: WORDS, messages: HELLO })) {
    if (event.type === "content_block_delta") yield event.delta.text;
  }
}

await run(version("@anthropic-ai/sdk"), { fixed, refreshed, bare }, { plain, streamed });
