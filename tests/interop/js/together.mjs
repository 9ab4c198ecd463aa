// Stock clients of three protocols on one topic, with an actor: `together.mjs http://host:port TOPIC APIKEY`.

import { RealtimeClient } from "@supabase/realtime-js";
import { Socket } from "phoenix";
import { io } from "socket.io-client";
import { WebSocket, first, main, say } from "./talk.mjs";

const seen = { phoenix: {}, supabase: {}, socketio: {} };
const bytes = (value) => (value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value instanceof Uint8Array ? [...value] : value);

await main(async (url, topic, apikey) => {
  const ws = url.replace("http", "ws");
  const events = ["text", "data", "greeting"];

  const socket = new Socket(`${ws}/socket`, { transport: WebSocket });
  socket.connect();
  const channel = socket.channel(topic);
  for (const event of events) channel.on(event, (payload) => note("phoenix", event, bytes(payload)));
  await first((resolve) => channel.join().receive("ok", resolve), "phoenix");

  const client = new RealtimeClient(`${ws}/realtime/v1`, { params: { apikey }, transport: WebSocket });
  const room = client.channel(topic);
  for (const event of events) room.on("broadcast", { event }, ({ payload }) => note("supabase", event, bytes(payload)));
  await first((resolve) => room.subscribe((state) => state === "SUBSCRIBED" && resolve()), "supabase");

  const sio = io(`${url}/topics`, { transports: ["websocket"] });
  sio.on("message", (_, event, payload) => note("socketio", event, bytes(payload)));
  await first((resolve) => sio.once("connect", resolve), "socket.io");
  await sio.emitWithAck("subscribe", topic);

  const send = {
    phoenix: (event, payload) => channel.push(event, payload),
    supabase: (event, payload) => room.send({ type: "broadcast", event, payload }),
    socketio: (event, payload) => sio.emitWithAck("publish", topic, event, payload),
  };
  for (const from of Object.keys(send)) {
    const data = new Uint8Array([1, 0, 255]);
    send[from]("text", { from, text: "hé 😀" });
    send[from]("data", from === "socketio" ? Buffer.from(data) : data.buffer);
    await first((resolve) => {
      const timer = setInterval(() => heard(from) && (clearInterval(timer), resolve()), 5);
    }, `what ${from} said`);
    say({ from, seen: JSON.parse(JSON.stringify(seen)) });
    for (const each of Object.keys(seen)) seen[each] = {};
  }
  sio.disconnect();
  client.disconnect();
  socket.disconnect();
});

function note(client, event, payload) {
  (seen[client][event] ??= []).push(payload);
}

/** Whether the others have heard both messages, and everybody the actor's greeting. */
function heard(from) {
  return Object.keys(seen).every((each) => (each === from || (seen[each].text && seen[each].data)) && seen[each].greeting?.length === 2);
}
