// The loop of a client's process, as tests/sdks/python/steps.py describes it.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export const MODELS = { openai: "gpt-5-mini", anthropic: "claude-sonnet-4-6" };
export const HELLO = [{ role: "user", content: "hello" }];
export const WORDS = 6;

// The version of a package that is installed beside this file.
export function version(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8")).version;
}

export async function run(version, makers, { plain, streamed }) {
  const clients = new Map();
  console.log(JSON.stringify({ version }));
  for await (const line of createInterface({ input: process.stdin })) {
    const { step, ...asked } = JSON.parse(line);
    const key = JSON.stringify(asked);
    let said;
    try {
      if (!clients.has(key)) clients.set(key, makers[asked.client](asked.base_url, asked.token));
      const pieces = [];
      if (step === "plain") {
        pieces.push(await plain(clients.get(key)));
      } else {
        for await (const piece of streamed(clients.get(key))) {
          if (piece) pieces.push(piece);
        }
      }
      said = { text: pieces.join(""), pieces: pieces.length };
    } catch (fault) {
      said = { error: `${fault.constructor.name}: ${fault.message}` };
    }
    console.log(JSON.stringify(said));
  }
}
