// npm phoenix against a node: `phoenix.mjs http://host:port SCENARIO`, or `all`.

import { LongPoll, Presence, Socket } from "phoenix";
import { play } from "./scenarios.mjs";
import { WebSocket, first, told } from "./talk.mjs";

const V1 = {
  vsn: "1.0.0",
  encode: ({ topic, event, payload, ref }, done) => done(JSON.stringify({ topic, event, payload, ref })),
  decode: (raw, done) => done(JSON.parse(raw)),
};

const scenarios = { talk, refuse, binary, presence, crash, cut, drain, drainLongpoll, longpoll, version1, leave };
let url;

await play(scenarios, (node) => {
  url = node.replace("http", "ws") + "/socket";
});

function connect(options = {}) {
  const socket = new Socket(url, { transport: WebSocket, timeout: 30_000, reconnectAfterMs: () => 50, rejoinAfterMs: () => 50, ...options });
  socket.connect();
  return socket;
}

function answer(push) {
  return new Promise((resolve, reject) => {
    push
      .receive("ok", (response) => resolve({ status: "ok", response }))
      .receive("error", (response) => resolve({ status: "error", response }))
      .receive("timeout", () => reject(new Error("timeout")));
  });
}

async function enter(socket, topic, params = {}) {
  const channel = socket.channel(topic, params);
  return { channel, joined: await answer(channel.join()) };
}

function heard(channel, event) {
  return first((resolve) => channel.on(event, resolve), event);
}

/** `joinPush.receive` would remember the first join. */
function joinedAgain(channel) {
  return first((resolve) => {
    const timer = setInterval(() => channel.isJoined() && (clearInterval(timer), resolve()), 5);
  }, "joining again");
}

async function talk(say) {
  const [ada, bob] = [connect(), connect()];
  const a = await enter(ada, "room:talk");
  const b = await enter(bob, "room:talk");
  say({ joined: a.joined });
  const chat = heard(b.channel, "chat");
  say({ pushed: await answer(a.channel.push("chat", { text: "hé 😀", list: [1, 2.5, null] })) });
  say({ heard: await chat });
  say({ echo: await answer(a.channel.push("echo", { a: 1 })) });
  say({ no: await answer(a.channel.push("no", {})) });
  const whispered = heard(a.channel, "whispered");
  a.channel.push("whisper", { to: "ada" });
  say({ whispered: await whispered });
  const ping = await new Promise((resolve) => ada.ping(resolve));
  say({ ping: ping >= 0 });
}

async function refuse(say) {
  const socket = connect();
  for (const [topic, params] of [["room:refuse", { refuse: "unauthorized" }], ["nowhere", {}]]) {
    const channel = socket.channel(topic, params);
    say({ [topic]: await answer(channel.join()) });
    channel.leave();
  }
  const { joined } = await enter(socket, "room:refuse");
  say({ joined });
  const other = connect({ vsn: "9.0.0" });
  await first((resolve) => other.onError(resolve), "an error");
  other.disconnect();
}

async function binary(say) {
  const [ada, bob] = [connect(), connect()];
  const a = (await enter(ada, "room:binary")).channel;
  const b = (await enter(bob, "room:binary")).channel;
  for (const size of [0, 1, 255, 65_536, 1_000_000]) {
    const data = new Uint8Array(size).map((_, index) => index * 7);
    const next = first((resolve) => b.on("data", resolve), `${size} bytes`);
    say({ size, status: (await answer(a.push("data", data.buffer))).status });
    const got = new Uint8Array(await next);
    b.off("data");
    say({ size, same: got.length === size && got.every((byte, index) => byte === data[index]) });
  }
  const echo = await answer(a.push("echo", new Uint8Array([1, 2, 255]).buffer));
  say({ echo: [...new Uint8Array(echo.response)] });
}

async function presence(say) {
  const eve = connect().channel("room:presence");
  const seen = new Presence(eve);
  await answer(eve.join());
  const counts = () => seen.list((key, { metas }) => [key, metas.map((meta) => meta.device).sort()]);
  const until = (wanted) =>
    first((resolve) => {
      const look = () => JSON.stringify(counts()) === wanted && resolve(wanted);
      seen.onSync(look);
      look();
    }, `presence ${wanted}`);
  const [phone, desk] = [connect(), connect()];
  await enter(phone, "room:presence", { user: "ada", device: "phone" });
  say({ one: await until('[["ada",["phone"]]]') });
  await enter(desk, "room:presence", { user: "ada", device: "desk" });
  say({ two: await until('[["ada",["desk","phone"]]]') });
  phone.disconnect();
  say({ left: await until('[["ada",["desk"]]]') });
  desk.disconnect();
  say({ none: await until("[]") });
}

async function crash(say) {
  const socket = connect();
  const { channel } = await enter(socket, "room:crash");
  const other = (await enter(socket, "room:other")).channel;
  const error = first((resolve) => channel.onError(resolve), "an error");
  channel.push("crash", {});
  say({ error: JSON.stringify(await error) });
  say({ other: (await answer(other.push("echo", { still: "here" }))).response });
  await joinedAgain(channel);
  say({ again: await answer(channel.push("echo", { back: true })) });
}

async function cut(say) {
  const [ada, bob] = [connect(), connect()];
  const a = (await enter(ada, "room:cut", { user: "ada" })).channel;
  const b = (await enter(bob, "room:cut")).channel;
  const closed = first((resolve) => ada.onClose(resolve), "the close");
  ada.conn.terminate();
  say({ code: (await closed).code });
  await joinedAgain(a);
  const chat = heard(a, "chat");
  b.push("chat", { text: "welcome back" });
  say({ heard: await chat });
}

async function leave(say) {
  const socket = connect();
  const { channel } = await enter(socket, "room:leave");
  const closed = first((resolve) => channel.onClose(resolve), "the close");
  say({ left: await answer(channel.leave()) });
  await closed;
  const again = await enter(socket, "room:leave");
  const twice = socket.channel("room:leave");
  const replaced = first((resolve) => again.channel.onClose(resolve), "the end of the first");
  say({ twice: await answer(twice.join()) });
  await replaced;
}

async function drain(say) {
  const socket = connect({ reconnectAfterMs: () => 60_000 });
  await enter(socket, "room:drain");
  const closed = first((resolve) => socket.onClose(resolve), "the close");
  say({ ready: true });
  say({ code: (await closed).code });
  await told();
}

async function drainLongpoll(say) {
  const socket = connect({ transport: LongPoll });
  let opened = 0;
  socket.onOpen(() => opened++);
  const { channel } = await enter(socket, "room:drain");
  const codes = [];
  const refused = first((resolve) => socket.onClose(({ code }) => codes.push(code) === 4 && resolve()), "four closes", 20_000);
  say({ ready: true });
  await refused;
  say({ codes, opened });
  await told();
  await joinedAgain(channel);
  say({ again: await answer(channel.push("echo", { back: true })), opened });
}

async function longpoll(say) {
  const [ada, bob] = [connect({ transport: LongPoll }), connect()];
  const a = (await enter(ada, "room:longpoll")).channel;
  const b = (await enter(bob, "room:longpoll")).channel;
  const hear = heard(b, "chat");
  say({ pushed: await answer(a.push("chat", { from: "longpoll" })) });
  say({ heard: await hear });
  const data = heard(b, "data");
  a.push("data", new Uint8Array([1, 2, 3]).buffer);
  say({ data: [...new Uint8Array(await data)] });
  const back = heard(a, "data");
  b.push("data", new Uint8Array([255]).buffer);
  say({ back: await back });
  const many = [];
  const all = first((resolve) => a.on("many", ({ n }) => many.push(n) === 50 && resolve()), "fifty");
  for (let n = 0; n < 50; n++) b.push("many", { n });
  await all;
  say({ ordered: many.every((n, index) => n === index) });
  say({ echoes: (await Promise.all([...Array(120).keys()].map((n) => answer(a.push("echo", { n }))))).length });
}

async function version1(say) {
  const [old, now] = [connect(V1), connect()];
  const o = (await enter(old, "room:version1")).channel;
  const n = (await enter(now, "room:version1")).channel;
  const chat = heard(n, "chat");
  o.push("chat", { from: "1.0.0" });
  say({ heard: await chat });
  const data = heard(o, "data");
  n.push("data", new Uint8Array([1, 2, 3]).buffer);
  say({ data: await data });
  say({ left: await answer(o.leave()) });
}
