// A broadcast server on npm `ws`, for benchmarks/gateway.py: node node_ws.mjs FOLDER-WITH-node_modules
// Says "ok PORT", then answers every line "broadcast COUNT PAUSE-SECONDS TEXT" with "ok" when all has been handed over.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const { WebSocketServer } = createRequire(`${process.argv[2]}/`)("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096, perMessageDeflate: false });
server.on("connection", (socket) => socket.on("error", () => {}));
server.on("listening", () => console.log(`ok ${server.address().port}`));

for await (const line of createInterface({ input: process.stdin })) {
  const [, count, pause, text] = line.split(" ");
  for (let round = 0; round < Number(count); round++) {
    if (round) await sleep(Number(pause) * 1000);
    for (const client of server.clients) client.send(text);
  }
  console.log("ok");
}
process.exit(0);
