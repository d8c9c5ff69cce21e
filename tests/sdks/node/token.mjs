// A token for a key of the broker, from the command line of keybroker: kept, and replaced in the last third of its life.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const held = new Map();

export async function token(key) {
  let one = held.get(key);
  if (!one || Date.now() >= one.until) {
    one = { asked: ask(key), until: Infinity }; // concurrent callers wait for the same answer
    held.set(key, one);
    one.asked.then(
      ({ expires_in: seconds }) => (one.until = Date.now() + (seconds * 2000) / 3),
      () => held.delete(key),
    );
  }
  return (await one.asked).access_token;
}

async function ask(key) {
  try {
    return JSON.parse((await run("keybroker", ["token", "--key", key, "--output", "json"])).stdout);
  } catch (fault) {
    const reason = fault.stderr?.trim().split("\n").at(-1); // the last line; what to do is above it
    throw new Error(reason?.replace(/^error: /, "") || fault.message);
  }
}
