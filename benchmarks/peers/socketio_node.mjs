// A room on npm `socket.io`, for benchmarks/gateway.py: node socketio_node.mjs FOLDER-WITH-node_modules
// Says "ok PORT", then answers every line "broadcast COUNT PAUSE-SECONDS TEXT" with "ok" when all has been handed over.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const { Server } = createRequire(`${process.argv[2]}/`)("socket.io");
const http = createServer();
// Heartbeats stay out of the measurement, as on every side.
const io = new Server(http, { pingInterval: 3_600_000, perMessageDeflate: false, serveClient: false });
io.on("connection", (socket) => socket.join("room"));
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => console.log(`ok ${http.address().port}`));

for await (const line of createInterface({ input: process.stdin })) {
  const [, count, pause, text] = line.split(" ");
  for (let round = 0; round < Number(count); round++) {
    if (round) await sleep(Number(pause) * 1000);
    io.to("room").emit("message", text);
  }
  console.log("ok");
}
process.exit(0);
