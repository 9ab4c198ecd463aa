// The client's side of tests/interop/children.py: what every script here begins with.
//
//     import { main, say, told } from "./talk.mjs";
//     main(async (url) => { ...; say({ joined: true }); const order = await told("publish"); ... });

import { createInterface } from "node:readline";
import WebSocket from "ws";

// A global WebSocket is there from Node.js 22 on; the clients are to behave the same on all.
globalThis.WebSocket = WebSocket;
export { WebSocket };

/** Say one JSON line. */
export function say(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

const orders = [];
const waiting = [];
const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  const order = JSON.parse(line);
  const next = waiting.shift();
  if (next) next(order);
  else orders.push(order);
});

/** The next line from the test: an object. */
export function told() {
  return orders.length ? Promise.resolve(orders.shift()) : new Promise((resolve) => waiting.push(resolve));
}

/** Resolve with the first value that `emitter` passes to `subscribe(callback)`; reject after `ms`. */
export function first(subscribe, what, ms = 30_000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
    subscribe((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

/** Run the script's body with the command line's arguments; the process ends with it, with exit code 1 if it throws. */
export async function main(body) {
  try {
    await body(...process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error?.stack ?? error}\n`);
    process.exit(1);
  }
  process.exit(0);
}
