// Which clients are installed, loaded as an application would: a scenario that needs no node.

import { readFileSync } from "node:fs";
import { RealtimeClient } from "@supabase/realtime-js";
import { Socket } from "phoenix";
import { io } from "socket.io-client";
import { WebSocket, main, say, told } from "./talk.mjs";

await main(async () => {
  for (const name of ["@supabase/realtime-js", "phoenix", "socket.io", "socket.io-client", "ws"]) {
    const path = new URL(`./node_modules/${name}/package.json`, import.meta.url);
    say({ name, version: JSON.parse(readFileSync(path)).version });
  }
  const loaded = [RealtimeClient, Socket, io, WebSocket, globalThis.WebSocket].every((each) => typeof each === "function");
  say({ loaded });
  say({ echo: await told() });
});
