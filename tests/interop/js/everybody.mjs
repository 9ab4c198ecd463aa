// Stock clients of three protocols on one topic, for as long as the test wants: `everybody.mjs http://host:port TOPIC APIKEY`.
// Says `{client, present: [USER...]}` whenever a client sees somebody come or go, and `{client, heard: [EVENT, PAYLOAD]}`.
// Told `{speak: EVENT, leave: CLIENT}`, each speaks, or one leaves.

import { RealtimeClient } from "@supabase/realtime-js";
import { Presence, Socket } from "phoenix";
import { io } from "socket.io-client";
import { WebSocket, first, main, say, told } from "./talk.mjs";

const EVENTS = ["text", "echo of text"];

function users(metas) {
  return metas.flat().map((meta) => meta.user).sort();
}

async function phoenix(url, topic) {
  const client = "phoenix";
  const socket = new Socket(`${url.replace("http", "ws")}/socket`, { transport: WebSocket });
  socket.connect();
  const channel = socket.channel(topic, { user: client });
  const presence = new Presence(channel);
  presence.onSync(() => say({ client, present: users(presence.list((_, { metas }) => metas)) }));
  for (const event of EVENTS) channel.on(event, (payload) => say({ client, heard: [event, payload] }));
  await first((resolve) => channel.join().receive("ok", resolve), client);
  return { speak: (event) => channel.push(event, { from: client }), leave: () => channel.leave() };
}

async function supabase(url, topic, apikey) {
  const client = "supabase";
  const socket = new RealtimeClient(`${url.replace("http", "ws")}/realtime/v1`, { params: { apikey }, transport: WebSocket });
  const room = socket.channel(topic, { config: { presence: { key: client } } });
  room.on("presence", { event: "sync" }, () => say({ client, present: users(Object.values(room.presenceState())) }));
  for (const event of EVENTS) {
    room.on("broadcast", { event }, ({ payload }) => say({ client, heard: [event, payload] }));
  }
  await first((resolve) => room.subscribe((state) => state === "SUBSCRIBED" && resolve()), client);
  await room.track({ user: client });
  return {
    speak: (event) => room.send({ type: "broadcast", event, payload: { from: client } }),
    leave: () => socket.removeChannel(room),
  };
}

async function socketio(url, topic) {
  const client = "socketio";
  const socket = io(`${url}/topics`, { transports: ["websocket"] });
  const here = new Map();
  const show = () => say({ client, present: users([...here.values()]) });
  socket.on("presence_state", (_, state) => {
    for (const [key, metas] of Object.entries(state)) here.set(key, metas);
    show();
  });
  socket.on("presence_diff", (_, { joins, leaves }) => {
    for (const [key, metas] of Object.entries(joins)) here.set(key, [...(here.get(key) ?? []), ...metas]);
    for (const [key, metas] of Object.entries(leaves)) {
      const gone = new Set(metas.map((meta) => meta.phx_ref));
      here.set(key, (here.get(key) ?? []).filter((meta) => !gone.has(meta.phx_ref)));
    }
    show();
  });
  socket.on("message", (_, event, payload) => say({ client, heard: [event, payload] }));
  await first((resolve) => socket.once("connect", resolve), client);
  await socket.emitWithAck("subscribe", topic);
  await socket.emitWithAck("track", topic, { user: client });
  return {
    speak: (event) => socket.emitWithAck("publish", topic, event, { from: client }),
    leave: () => socket.emitWithAck("unsubscribe", topic),
  };
}

await main(async (url, topic, apikey) => {
  const clients = {
    phoenix: await phoenix(url, topic),
    supabase: await supabase(url, topic, apikey),
    socketio: await socketio(url, topic),
  };
  say({ ready: true });
  for (;;) {
    const order = await told();
    if (order.speak) for (const client of Object.values(clients)) await client.speak(order.speak);
    if (order.leave) await clients[order.leave].leave();
    if (order.end) return;
  }
});
